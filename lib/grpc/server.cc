#include "lib/grpc/server.h"

#include "lib/async/scope.h"

namespace weft::grpc {
namespace {

constexpr std::size_t kReadMax = 256 * 1024;

http2::Headers trailers_of(const Status& status) {
  http2::Headers fields = {{"grpc-status", std::to_string(static_cast<int>(status.code))}};
  if (!status.message.empty()) fields.emplace_back("grpc-message", percent_encode(status.message));
  return fields;
}

}  // namespace

ServerCall::ServerCall(http2::StreamPtr stream, std::size_t message_max, const std::string& peer)
    : stream_(std::move(stream)), messages_(message_max), peer_(peer) {}

Task<Result<std::optional<std::string>>> ServerCall::read() {
  for (;;) {
    auto message = messages_.next();
    if (!message || *message) co_return message;
    auto data = co_await stream_->read(kReadMax);
    if (!data) co_return fail(std::move(data).error());
    if (data->empty()) {
      if (!messages_.at_boundary()) co_return fail(ErrorCode::kProtocol, "the stream ended inside a message");
      co_return std::optional<std::string>();
    }
    stream_->consumed(data->size());
    messages_.append(std::move(*data));
  }
}

Task<Result<void>> ServerCall::write(std::string message) {
  if (!answered_) {
    auto begun = stream_->respond({{":status", "200"}, {"content-type", "application/grpc"}}, http2::Stream::Body::kFollows);
    if (!begun) co_return begun;
    answered_ = true;
  }
  writing_ = true;
  auto written = co_await stream_->write(frame_message(message));
  writing_ = false;
  co_return written;
}

void ServerCall::finish(const Status& status) {
  if (std::exchange(finished_, true)) return;
  // Fails when the caller has given up: nobody is left to be told.
  if (answered_) {
    (void)stream_->finish(trailers_of(status));
    return;
  }
  http2::Headers only = {{":status", "200"}, {"content-type", "application/grpc"}};
  for (auto& field : trailers_of(status)) only.push_back(std::move(field));
  (void)stream_->respond(only, http2::Stream::Body::kNone);
}

void ServerCall::on_stop(bool deadline_passed) {
  // A caller that does not take what it is sent will not take a status either; its stream must not hold the bytes.
  if (!deadline_passed || writing_) return stream_->abort(io::AbortReason::kCancel);
  finish({Code::kDeadlineExceeded, "the call's deadline passed"});
  stream_->stop_reading();
}

Task<void> Server::answer(http2::StreamPtr stream, const std::string& peer, StopToken stop) {
  const http2::Headers& request = stream->request();
  const auto* method = http2::find(request, ":method");
  const auto* type = http2::find(request, "content-type");
  const auto* path = http2::find(request, ":path");
  if (!method || *method != "POST" || !type || !type->starts_with("application/grpc")) {
    // Not a gRPC caller: the answer PROTOCOL-HTTP2.md asks for. A failure means the stream is gone already.
    (void)stream->respond({{":status", "415"}}, http2::Stream::Body::kNone);
    co_return;
  }
  std::optional<Duration> limit = options_.call_time_max;
  Status status;
  if (const auto* timeout = http2::find(request, "grpc-timeout")) {
    auto asked = parse_timeout(*timeout);
    if (!asked) {
      status = {Code::kInternal, asked.error().message()};
    } else if (!limit || *asked < *limit) {
      limit = *asked;
    }
  }
  std::optional<Deadline> deadline;
  if (limit) deadline.emplace(loop_, *limit, stop);
  ServerCall call(std::move(stream), options_.message_max, peer);
  const auto found = path ? methods_.find(*path) : methods_.end();
  if (found == methods_.end()) status = {Code::kUnimplemented, "unknown method"};
  if (status.ok()) {
    const StopToken token = deadline ? deadline->token() : stop;
    // Reads and writes under way end with kCancelled.
    StopCallback on_stop(token, [&call, &deadline] { call.on_stop(deadline && deadline->expired()); });
    status = co_await found->second(call, token);
  }
  call.finish(status);
}

Task<Result<void>> Server::serve(io::StreamPtr transport, StopToken stop, Duration drain, std::string peer) {
  auto connection = http2::Connection::create(loop_, http2::Role::kServer, options_.http2, std::move(transport));
  Scope calls(loop_);
  connection->on_request([this, &calls, &peer](http2::StreamPtr stream) {
    if (!calls.stop_requested()) calls.spawn(answer(std::move(stream), peer, calls.token()));
  });
  StopSource cut;
  Timer drained([&cut] { cut.request_stop(); });
  StopCallback on_stop(stop, [&] {
    connection->shutdown();
    loop_.arm(drained, loop_.now() + drain);
  });
  auto outcome = co_await connection->run(cut.token());
  calls.request_stop();
  co_await calls.join();
  connection->on_request({});
  co_return outcome;
}

}  // namespace weft::grpc
