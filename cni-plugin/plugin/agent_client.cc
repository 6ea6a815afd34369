#include "cni-plugin/plugin/agent_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "cni-plugin/plugin/json.h"
#include "lib/base/base64.h"
#include "lib/base/clock.h"
#include "lib/base/fd.h"

namespace weft::cni::plugin {
namespace {

// Blocking socket calls that give up together at one point in time.
class Deadline {
 public:
  explicit Deadline(std::chrono::milliseconds limit) : end_(SystemClock().monotonic() + limit) {}

  // Before each call: what is left becomes the socket's limit.
  Result<void> arm(const Fd& fd, int option) const {
    const auto left = std::chrono::duration_cast<std::chrono::microseconds>(end_ - SystemClock().monotonic()).count();
    if (left <= 0) return fail_errno(ETIMEDOUT, "no answer in time");
    const timeval value{.tv_sec = left / 1'000'000, .tv_usec = left % 1'000'000};
    if (::setsockopt(fd.get(), SOL_SOCKET, option, &value, sizeof value) != 0) return fail_errno(errno, "set a time limit");
    return {};
  }

 private:
  MonotonicTime end_;
};

int as_timeout(int error) { return error == EAGAIN ? ETIMEDOUT : error; }

Result<Fd> connect_to(const std::string& path, const Deadline& deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(ErrorCode::kInvalidArgument, "the path of the socket is too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(errno, "open a socket");
  WEFT_TRY_VOID(deadline.arm(fd, SO_SNDTIMEO));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(as_timeout(errno), "connect");
  }
  return fd;
}

Result<void> send_all(const Fd& fd, std::string_view text, const Deadline& deadline) {
  while (!text.empty()) {
    WEFT_TRY_VOID(deadline.arm(fd, SO_SNDTIMEO));
    const auto sent = ::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return fail_errno(as_timeout(errno), "send");
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

Result<Reply> receive_reply(const Fd& fd, const Deadline& deadline) {
  std::string received;
  std::array<char, 16 * 1024> part;
  for (;;) {
    WEFT_TRY_VOID(deadline.arm(fd, SO_RCVTIMEO));
    const auto got = ::recv(fd.get(), part.data(), part.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(as_timeout(errno), "receive");
    received.append(part.data(), static_cast<std::size_t>(got));
    if (received.size() > kReplyHeadMax + 3 * kReplyBodyMax) return fail(ErrorCode::kProtocol, "the answer does not end");
    WEFT_TRY(auto reply, parse_reply(received, got == 0));
    if (reply) return std::move(*reply);
  }
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  return text.substr(0, text.find_last_not_of(" \t") + 1);
}

template <typename Int>
std::optional<Int> number(std::string_view text, int base) {
  Int out{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return out;
}

// The chunks received so far, joined; `done` when the last one is there. A broken one ends the body.
std::string join_chunks(std::string_view bytes, bool& done) {
  std::string out;
  for (;;) {
    const auto end = bytes.find("\r\n");
    if (end == bytes.npos) return out;
    const auto size = number<std::size_t>(bytes.substr(0, std::min(end, bytes.find(';'))), 16);
    bytes.remove_prefix(end + 2);
    if (!size || *size == 0) {
      done = true;
      return out;
    }
    out += bytes.substr(0, std::min(*size, kReplyBodyMax));
    if (bytes.size() < *size || bytes.size() - *size < 2) return out;
    bytes.remove_prefix(*size + 2);
  }
}

std::string mask_of(const Cidr& block) {
  std::array<std::uint8_t, 16> bytes{};
  for (unsigned bit = 0; bit < block.length(); ++bit) bytes[bit / 8] |= static_cast<std::uint8_t>(0x80u >> bit % 8);
  return base64({reinterpret_cast<const char*>(bytes.data()), block.address().bytes().size()});
}

}  // namespace

Result<std::optional<Reply>> parse_reply(std::string_view received, bool at_end) {
  std::string_view head, body;
  const auto next_line = [&] {
    const auto line = head.substr(0, head.find("\r\n"));
    head.remove_prefix(std::min(line.size() + 2, head.size()));
    return line;
  };
  Reply reply;
  do {  // interim answers (1xx) come before the real one
    const auto head_end = received.find("\r\n\r\n");
    if (head_end == received.npos) {
      if (received.size() > kReplyHeadMax) return fail(ErrorCode::kProtocol, "the head of the answer is too long");
      if (at_end) return fail(ErrorCode::kClosed, "the connection was closed before an answer came");
      return std::optional<Reply>();
    }
    head = received.substr(0, head_end + 2);
    body = received = received.substr(head_end + 4);
    const auto line = next_line();
    const int status = line.size() >= 12 ? number<int>(line.substr(9, 3), 10).value_or(0) : 0;
    if (!line.starts_with("HTTP/1.") || line[8] != ' ' || status < 100) {
      return fail(ErrorCode::kProtocol, "the answer is not HTTP/1.1");
    }
    reply.status = status;
    reply.reason = trimmed(line.substr(12));
  } while (reply.status < 200);

  std::optional<std::size_t> length;
  bool chunked = false;
  while (!head.empty()) {
    const auto line = next_line();
    const auto colon = line.find(':');
    if (colon == line.npos) continue;
    const auto name = lower(line.substr(0, colon)), value = lower(trimmed(line.substr(colon + 1)));
    if (name == "content-length") length = number<std::size_t>(value, 10);
    if (name == "transfer-encoding") chunked = value.ends_with("chunked");
  }
  bool done = at_end || reply.status == 200 || (!chunked && length && body.size() >= *length);
  reply.body = chunked ? join_chunks(body, done) : std::string(body.substr(0, length.value_or(body.npos)));
  done = done || reply.body.size() >= kReplyBodyMax || body.size() > 2 * kReplyBodyMax;
  if (!done) return std::optional<Reply>();
  reply.body.resize(std::min(reply.body.size(), kReplyBodyMax));
  return std::optional<Reply>(std::move(reply));
}

Result<Reply> post(const std::string& socket_path, std::string_view path, std::string_view body,
                   std::chrono::milliseconds limit) {
  const Deadline deadline(limit);
  const auto request =
      "POST " + std::string(path) +
      " HTTP/1.1\r\nHost: unix\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
      "\r\nConnection: close\r\n\r\n" + std::string(body);
  const auto exchange = [&]() -> Result<Reply> {
    WEFT_TRY(const Fd fd, connect_to(socket_path, deadline));
    WEFT_TRY_VOID(send_all(fd, request, deadline));
    return receive_reply(fd, deadline);
  };
  auto reply = exchange();
  if (!reply) return fail(std::move(reply).error().within("POST " + std::string(path) + " on " + socket_path));
  return reply;
}

std::string to_json(const PodEvent& event) {
  Json addresses;  // null without a previous result
  if (event.has_addresses) addresses = Json::array();
  for (const auto& address : event.addresses) {
    addresses.push_back({{"Interface", address.interface ? Json(*address.interface) : Json()},
                         {"Address", {{"IP", address.address.address().to_string()}, {"Mask", mask_of(address.address)}}},
                         {"Gateway", address.gateway ? address.gateway->to_string() : ""}});
  }
  Json body{{"Netns", event.netns},
            {"PodName", event.pod_name},
            {"PodNamespace", event.pod_namespace},
            {"IPs", std::move(addresses)}};
  if (!event.pod_uid.empty()) body["PodUID"] = event.pod_uid;
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

namespace {

Result<void> tell(const std::string& run_dir, std::string_view path, const PodEvent& event,
                  std::chrono::milliseconds limit) {
  WEFT_TRY(const Reply reply, post(run_dir + "/pluginevent.sock", path, to_json(event), limit));
  if (reply.status == 200) return {};
  auto body = reply.body;
  while (!body.empty() && std::isspace(static_cast<unsigned char>(body.back()))) body.pop_back();
  return fail(ErrorCode::kUnavailable, "it answered " + std::to_string(reply.status) + " " + reply.reason + ": " + body);
}

}  // namespace

Result<void> add_pod(const std::string& run_dir, const PodEvent& event) {
  return tell(run_dir, "/cmdadd", event, kAddLimit);
}

Result<void> delete_pod(const std::string& run_dir, const PodEvent& event) {
  return tell(run_dir, "/cmddel", event, kDelLimit);
}

}  // namespace weft::cni::plugin
