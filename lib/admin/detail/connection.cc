#include "lib/admin/detail/connection.h"

#include <algorithm>
#include <ctime>
#include <optional>

#include "lib/admin/detail/compress.h"
#include "lib/base/log.h"

namespace weft::admin {
namespace {

constexpr std::size_t kReadMax = 16 * 1024;
// What a refused client may still send while it reads the refusal; a connection closed over unread bytes is reset, and
// the refusal lost with it.
constexpr std::size_t kLingerMax = 256 * 1024;

std::string_view phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 413: return "Content Too Large";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
  }
}

// RFC 9110 §5.6.7; the program runs in the C locale.
std::string http_date(WallTime time) {
  const std::time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[40];
  return std::string(text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts));
}

std::string format_head(const Response& response, WallTime now, bool keep) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\ndate: {}\r\n", response.status, phrase(response.status), http_date(now));
  if (response.status != 204) head += fmt::format("content-length: {}\r\n", response.body.size());
  if (!response.body.empty() && !response.content_type.empty()) head += "content-type: " + response.content_type + "\r\n";
  if (!response.content_encoding.empty())
    head += "content-encoding: " + response.content_encoding + "\r\nvary: accept-encoding\r\n";
  if (!keep) head += "connection: close\r\n";
  return head + "\r\n";
}

// "/path?query", or the same behind "http://host" (RFC 9112 §3.2.2), or "*".
bool split_target(std::string_view target, Request& request) {
  constexpr std::string_view kScheme = "http://";
  if (target.starts_with(kScheme)) {
    target.remove_prefix(kScheme.size());
    target.remove_prefix(std::min(target.find_first_of("/?"), target.size()));
    if (!target.starts_with('/')) request.path = "/";
  } else if (!target.starts_with('/') && target != "*") {
    return false;
  }
  const auto mark = std::min(target.find('?'), target.size());
  request.path += target.substr(0, mark);
  request.query = target.substr(std::min(mark + 1, target.size()));
  return true;
}

}  // namespace

void ServerState::refused(std::string_view reason, std::string_view detail) {
  if (options.refused) options.refused->with({{"server", options.name}, {"reason", std::string(reason)}}).add();
  WEFT_LOG(kDebug, "admin", "request refused", {"server", options.name}, {"reason", std::string(reason)},
           {"detail", std::string(detail)});
}

Connection::Connection(ServerState& server, io::StreamPtr stream)
    : server_(server),
      stream_(std::move(stream)),
      timer_([this] { on_timeout(); }),
      on_stop_(server.stop, [this] { on_stop(); }) {}

void Connection::enter(Phase phase) {
  phase_ = phase;
  unlink();
  if (phase == Phase::kIdle) server_.idle.push_back(*this);
  std::optional<Duration> limit;
  switch (phase) {
    case Phase::kIdle: limit = server_.options.idle_timeout; break;
    case Phase::kHead:
    case Phase::kLinger: limit = server_.options.head_timeout; break;
    case Phase::kBody:
    case Phase::kAnswer: limit = server_.options.transfer_timeout; break;
    case Phase::kHandler: break;  // the handler's own affair
  }
  timer_.cancel();
  if (limit) server_.loop.arm(timer_, server_.loop.now() + *limit);
}

void Connection::on_timeout() {
  if (phase_ != Phase::kIdle && phase_ != Phase::kLinger) server_.refused("timeout", "the client was too slow");
  abort();
}

void Connection::on_stop() {
  if (phase_ == Phase::kIdle || phase_ == Phase::kHead || phase_ == Phase::kLinger) abort();
}

Task<void> Connection::run() {
  enter(Phase::kHead);
  for (bool more = true; more && !server_.stop.stop_requested();) {
    MessageParser parser(MessageKind::kRequest, {server_.options.head_max, server_.options.body_max});
    more = co_await read_request(parser);
    if (more) more = co_await answer(parser);
    if (!more) break;
    enter(Phase::kIdle);
    // Requests sent ahead are answered without a read in between: let others run.
    if (!input_.empty()) co_await yield_to(server_.loop);
  }
}

// False when there is no request and the connection is over.
Task<bool> Connection::read_request(MessageParser& parser) {
  using State = MessageParser::State;
  bool continued = false;
  for (;;) {
    if (!input_.empty()) {
      if (phase_ == Phase::kIdle) enter(Phase::kHead);
      input_.remove_prefix(parser.feed(input_.front().view()));
    }
    if (parser.state() == State::kDone) co_return true;
    if (parser.state() == State::kFailed) {
      co_await refuse(parser.failure_status(), parser.failure());
      co_return false;
    }
    if (parser.state() == State::kBody && phase_ != Phase::kBody) enter(Phase::kBody);
    if (!input_.empty()) continue;
    if (phase_ == Phase::kBody && !continued && parser.head().has_token("expect", "100-continue")) {
      continued = true;
      auto asked = co_await stream_->write(BufferChain(Buffer::literal("HTTP/1.1 100 Continue\r\n\r\n")));
      if (!asked) co_return false;
    }
    auto received = co_await receive();
    if (!received) co_return false;
  }
}

Task<bool> Connection::receive() {
  auto data = co_await stream_->read(kReadMax);
  if (!data) co_return false;
  if (data->empty()) {
    if (phase_ == Phase::kLinger) co_return false;
    // Nothing more will be asked. Ends our direction in order, so that the last answer is not lost with the connection.
    auto finished = co_await stream_->shutdown_write();
    (void)finished;
    co_return false;
  }
  stream_->consumed(data->size());
  input_.append(std::move(*data));
  co_return true;
}

// False when the connection is over.
Task<bool> Connection::answer(MessageParser& parser) {
  const MessageHead& head = parser.head();
  Request request;
  if (!split_target(head.target, request)) {
    co_await refuse(400, "malformed target");
    co_return false;
  }
  request.method = head.method;
  if (const auto* accept = head.find("accept")) request.accept = *accept;
  request.body = std::move(parser.body());
  enter(Phase::kHandler);
  auto response = co_await server_.handler(std::move(request), server_.stop);
  co_await compress_for(head, response);
  const bool keep = head.minor_version > 0 && !head.has_token("connection", "close") && !server_.crowded() &&
                    !server_.stop.stop_requested();
  auto sent = co_await send(response, head.method == "HEAD", keep);
  co_return sent&& keep;
}

Task<void> Connection::compress_for(const MessageHead& head, Response& response) {
  const auto* accepted = head.find("accept-encoding");
  if (!accepted || response.body.size() < kCompressMin || !response.content_encoding.empty()) co_return;
  const auto coding = choose_coding(*accepted);
  if (coding == Coding::kIdentity) co_return;
  auto compressed = co_await compress(server_.loop, coding, response.body);
  if (compressed) response.content_encoding = to_string(coding);
}

Task<bool> Connection::send(const Response& response, bool head_only, bool keep) {
  enter(Phase::kAnswer);
  BufferChain message;
  message.append(format_head(response, server_.loop.clock().wall(), keep));
  if (!head_only && response.status != 204) message.append(response.body);
  auto written = co_await stream_->write(std::move(message));
  if (written && !keep) written = co_await stream_->shutdown_write();
  co_return written.has_value();
}

Task<void> Connection::refuse(int status, std::string_view reason) {
  server_.refused(fmt::to_string(status), reason);
  Response response;
  response.status = status;
  response.body = std::string(reason) + "\n";
  auto sent = co_await send(response, false, false);
  if (!sent || server_.stop.stop_requested()) co_return;
  enter(Phase::kLinger);
  for (std::size_t size = 0; size < kLingerMax;) {
    input_.clear();
    auto received = co_await receive();
    if (!received) co_return;
    size += input_.size();
  }
}

}  // namespace weft::admin
