// libFuzzer target: a control plane's gRPC: messages cut out of DATA, the status in trailers, timeouts. The first byte says
// how the bytes are cut; it must not matter.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/check.h"
#include "lib/grpc/dial.h"
#include "lib/grpc/message.h"
#include "lib/grpc/status.h"

namespace {

using namespace weft;

struct Read {
  std::vector<std::string> messages;
  bool failed = false;
  bool at_boundary = true;
  bool operator==(const Read&) const = default;
};

Read read(std::string_view bytes, std::size_t step) {
  constexpr std::size_t kMax = 3000;
  grpc::MessageReader reader(kMax);
  Read result;
  while (!bytes.empty() && !result.failed) {
    reader.append(BufferChain(Buffer::copy_of(bytes.substr(0, step))));
    bytes.remove_prefix(std::min(step, bytes.size()));
    for (;;) {
      auto message = reader.next();
      result.failed = !message;
      if (!message || !*message) break;
      WEFT_CHECK((*message)->size() <= kMax);
      result.messages.push_back(std::move(**message));
    }
  }
  result.at_boundary = result.failed || reader.at_boundary();
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = read(text, text.size() + 1);
  WEFT_CHECK(whole == read(text, std::size_t{data[0]} + 1));
  std::string again;
  for (const auto& message : whole.messages) again += grpc::frame_message(message).to_string();
  WEFT_CHECK(text.starts_with(again));

  WEFT_CHECK(grpc::percent_decode(grpc::percent_encode(text)) == text);
  (void)grpc::percent_decode(text);
  const auto line = text.find('\n');
  const auto status = grpc::status_from({{"grpc-status", std::string(text.substr(0, line))},
                                         {"grpc-message", std::string(line == text.npos ? "" : text.substr(line + 1))}});
  WEFT_CHECK(!grpc::to_string(status.code).empty());
  if (!status.ok()) (void)grpc::to_error(status);
  WEFT_CHECK(!grpc::status_from_http(text).ok());
  if (const auto timeout = grpc::parse_timeout(text)) {
    WEFT_CHECK(*timeout >= Duration::zero());
    WEFT_CHECK(grpc::parse_timeout(grpc::format_timeout(*timeout)).has_value());
  }
  (void)grpc::ServerAddress::parse(text);
  return 0;
}
