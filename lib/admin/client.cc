#include "lib/admin/client.h"

#include <algorithm>

#include "lib/admin/message_parser.h"
#include "lib/base/log.h"

namespace weft::admin {
namespace {

constexpr std::size_t kReadMax = 16 * 1024;

bool is_word(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

Result<BufferChain> format(const ClientRequest& request) {
  const bool clean = std::none_of(request.content_type.begin(), request.content_type.end(),
                                  [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  if (!is_word(request.method) || !is_word(request.target) || !is_word(request.host) || !clean) {
    return fail(ErrorCode::kInvalidArgument, "a request's line or field would be malformed");
  }
  std::string head =
      fmt::format("{} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", request.method, request.target, request.host);
  if (!request.body.empty()) head += "content-type: " + request.content_type + "\r\n";
  if (!request.body.empty() || request.method == "POST") head += fmt::format("content-length: {}\r\n", request.body.size());
  BufferChain message;
  message.append(head + "\r\n");
  message.append(request.body);
  return message;
}

Result<Response> result_of(MessageParser& parser) {
  if (parser.state() == MessageParser::State::kFailed) {
    const bool too_large = parser.failure_status() == 413 || parser.failure_status() == 431;
    return fail(too_large ? ErrorCode::kLimit : ErrorCode::kProtocol, "answer: " + std::string(parser.failure()));
  }
  const auto* type = parser.head().find("content-type");
  return Response{parser.head().status, std::move(parser.body()), type ? *type : std::string()};
}

}  // namespace

Task<Result<Response>> exchange(io::StreamPtr stream, ClientRequest request, std::size_t body_max, StopToken stop) {
  using State = MessageParser::State;
  WEFT_CO_TRY(auto message, format(request));
  MessageLimits limits;
  limits.body_max = body_max;
  MessageParser parser(MessageKind::kResponse, limits);
  if (request.method == "HEAD") parser.expect_no_body();
  StopCallback on_stop(stop, [&stream] { stream->abort(io::AbortReason::kCancel); });
  // A server that refuses early may stop reading: its answer is worth more than the failed write.
  auto written = co_await stream->write(std::move(message));
  while (parser.state() == State::kHead || parser.state() == State::kBody) {
    auto data = co_await stream->read(kReadMax);
    if (!data) co_return fail(written ? std::move(data).error() : std::move(written).error());
    if (data->empty()) {
      parser.finish();
      if (parser.state() == State::kDone) break;
      if (!written) co_return fail(std::move(written).error());
      co_return fail(ErrorCode::kClosed, "the connection ended before the answer did");
    }
    stream->consumed(data->size());
    for (std::size_t i = 0; i < data->slice_count(); ++i) parser.feed(data->slice(i).view());
  }
  co_return result_of(parser);
}

}  // namespace weft::admin
