#include "lib/zds/messages.h"

#include <algorithm>

#include "lib/zds/zds.pb.h"

namespace weft::zds {
namespace {

namespace wire = istio::workload::zds;

// Room for the tags and lengths around an error text.
constexpr std::size_t kErrorMax = kMessageMax - 16;

template <typename Message>
Result<Message> parse(std::string_view bytes, const char* what) {
  Message message;
  if (bytes.size() > kMessageMax || !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(ErrorCode::kProtocol, std::string("bytes are no ") + what);
  }
  return message;
}

struct Writer {
  wire::WorkloadRequest& out;
  void operator()(const Add& add) const {
    out.mutable_add()->set_uid(add.pod.uid);
    if (!add.has_info) return;
    auto& info = *out.mutable_add()->mutable_workload_info();
    info.set_name(add.pod.name);
    info.set_namespace_(add.pod.namespace_name);
    info.set_service_account(add.pod.service_account);
  }
  void operator()(const Keep& keep) const { out.mutable_keep()->set_uid(keep.uid); }
  void operator()(const Del& del) const { out.mutable_del()->set_uid(del.uid); }
  void operator()(const SnapshotSent&) const { out.mutable_snapshot_sent(); }
};

Add read_add(const wire::AddWorkload& add) {
  const auto& info = add.workload_info();
  return {{add.uid(), info.name(), info.namespace_(), info.service_account()}, add.has_workload_info()};
}

// How much of the text is UTF-8 (RFC 3629, structure only).
std::size_t valid_utf8(std::string_view text) {
  std::size_t good = 0;
  while (good < text.size()) {
    const auto first = static_cast<unsigned char>(text[good]);
    const std::size_t length = first < 0x80   ? 1
                               : first < 0xC2 ? 0
                               : first < 0xE0 ? 2
                               : first < 0xF0 ? 3
                               : first < 0xF5 ? 4
                                              : 0;
    if (length == 0 || good + length > text.size()) break;
    bool continued = true;
    for (std::size_t i = 1; i < length; ++i) continued &= (static_cast<unsigned char>(text[good + i]) & 0xC0) == 0x80;
    if (!continued) break;
    // Overlong forms, surrogates and numbers past U+10FFFF.
    const auto second = length > 1 ? static_cast<unsigned char>(text[good + 1]) : 0;
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
        (first == 0xF4 && second > 0x8F)) {
      break;
    }
    good += length;
  }
  return good;
}

// The text as far as it is UTF-8 and short enough.
std::string_view usable(std::string_view text) {
  text = text.substr(0, kErrorMax);
  return text.substr(0, valid_utf8(text));
}

bool is_utf8(std::string_view text) { return valid_utf8(text) == text.size(); }

struct IsReadable {
  bool operator()(const Add& add) const {
    const auto& pod = add.pod;
    return is_utf8(pod.uid) && is_utf8(pod.name) && is_utf8(pod.namespace_name) && is_utf8(pod.service_account);
  }
  bool operator()(const Keep& keep) const { return is_utf8(keep.uid); }
  bool operator()(const Del& del) const { return is_utf8(del.uid); }
  bool operator()(const SnapshotSent&) const { return true; }
};

}  // namespace

Result<std::string> encode(const Request& request) {
  if (!std::visit(IsReadable{}, request)) return fail(ErrorCode::kInvalidArgument, "a name of the pod is no UTF-8");
  wire::WorkloadRequest message;
  std::visit(Writer{message}, request);
  auto bytes = message.SerializeAsString();
  if (bytes.size() > kMessageMax) {
    return fail(ErrorCode::kLimit, "the names of a pod do not fit a message of " + std::to_string(kMessageMax) + " bytes");
  }
  return bytes;
}

std::string encode(const Hello& hello) {
  wire::ZdsHello message;
  message.set_version(static_cast<wire::Version>(hello.version));
  return message.SerializeAsString();
}

std::string encode(const Ack& ack) {
  wire::WorkloadResponse message;
  auto& out = *message.mutable_ack();
  if (!ack.error.empty()) {
    const auto text = usable(ack.error);
    // An error stays one, whatever its text.
    out.set_error(text.empty() ? "error without a readable text" : std::string(text));
  }
  return message.SerializeAsString();
}

Result<Request> decode_request(std::string_view bytes) {
  WEFT_TRY(const auto message, parse<wire::WorkloadRequest>(bytes, "workload request"));
  const auto named = [](Request request, const std::string& uid) -> Result<Request> {
    if (uid.empty()) return fail(ErrorCode::kProtocol, "workload request without a uid");
    return request;
  };
  switch (message.payload_case()) {
    case wire::WorkloadRequest::kAdd: return named(read_add(message.add()), message.add().uid());
    case wire::WorkloadRequest::kKeep: return named(Keep{message.keep().uid()}, message.keep().uid());
    case wire::WorkloadRequest::kDel: return named(Del{message.del().uid()}, message.del().uid());
    case wire::WorkloadRequest::kSnapshotSent: return SnapshotSent{};
    case wire::WorkloadRequest::PAYLOAD_NOT_SET: break;
  }
  return fail(ErrorCode::kProtocol, "workload request without a payload we know");
}

Result<Hello> decode_hello(std::string_view bytes) {
  WEFT_TRY(const auto message, parse<wire::ZdsHello>(bytes, "hello"));
  return Hello{static_cast<std::int32_t>(message.version())};
}

Result<Ack> decode_ack(std::string_view bytes) {
  WEFT_TRY(const auto message, parse<wire::WorkloadResponse>(bytes, "workload response"));
  if (!message.has_ack()) return fail(ErrorCode::kProtocol, "workload response without a payload we know");
  return Ack{message.ack().error()};
}

}  // namespace weft::zds
