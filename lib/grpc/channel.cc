#include "lib/grpc/channel.h"

namespace weft::grpc {
namespace {

constexpr std::size_t kReadMax = 256 * 1024;

}  // namespace

// --- ClientCall -------------------------------------------------------------------------------------------------------

ClientCall::ClientCall(Loop& loop, const CallOptions& options, std::size_t message_max, StopToken stop)
    : stop_(std::move(stop)), messages_(message_max) {
  if (!options.deadline) return;
  deadline_.emplace(loop, *options.deadline, stop_);
  stop_ = deadline_->token();
}

ClientCall::~ClientCall() = default;

Status ClientCall::explain(Error error) const {
  if (deadline_ && deadline_->expired()) return {Code::kDeadlineExceeded, "the call's deadline passed"};
  return from_error(error);
}

void ClientCall::settle(Status status) {
  if (std::exchange(settled_, true)) return;
  status_ = std::move(status);
}

Task<Result<void>> ClientCall::write(std::string message) {
  if (settled_) co_return fail(ErrorCode::kClosed, "the call has ended");
  auto written = co_await stream_->write(frame_message(message));
  co_return written;
}

Result<void> ClientCall::finish_writing() { return stream_->finish({}); }

void ClientCall::cancel() {
  if (!settled_) stream_->abort(io::AbortReason::kCancel);
}

Task<std::optional<std::string>> ClientCall::read() {
  if (!headers_seen_ && !settled_) {
    auto response = co_await stream_->response(stop_);
    if (!response) {
      settle(explain(std::move(response).error()));
      co_return std::nullopt;
    }
    headers_seen_ = true;
    const auto* http_status = http2::find(*response, ":status");
    const auto* type = http2::find(*response, "content-type");
    if (http2::find(*response, "grpc-status")) {
      settle(status_from(*response));  // trailers-only
    } else if (!http_status || *http_status != "200") {
      settle(status_from_http(http_status ? *http_status : ""));
    } else if (!type || !type->starts_with("application/grpc")) {
      settle({Code::kUnknown, "the answer is not gRPC"});
    }
  }
  while (!settled_) {
    auto message = messages_.next();
    if (!message) {
      settle({message.error().code() == ErrorCode::kLimit ? Code::kResourceExhausted : Code::kInternal,
              message.error().message()});
      stream_->abort(io::AbortReason::kCancel);
      break;
    }
    if (*message) co_return std::move(*message);
    auto data = co_await stream_->read(kReadMax);
    if (!data) {
      settle(explain(std::move(data).error()));
      break;
    }
    if (data->empty()) {
      const bool whole = messages_.at_boundary();
      settle(whole ? status_from(stream_->trailers()) : Status{Code::kInternal, "the stream ended inside a message"});
      break;
    }
    stream_->consumed(data->size());
    messages_.append(std::move(*data));
  }
  co_return std::nullopt;
}

// --- Channel ----------------------------------------------------------------------------------------------------------

Channel::Channel(Loop& loop, Connector connector, Options options)
    : loop_(loop), connector_(std::move(connector)), options_(std::move(options)), connecting_(loop, 1), scope_(loop) {}

Channel::~Channel() = default;

Task<void> Channel::drive(std::shared_ptr<http2::Connection> connection) {
  // Why it ended is told to every call on it.
  auto ended = co_await connection->run(scope_.token());
  (void)ended;
  if (connection_ == connection) connection_.reset();
}

Task<Result<std::shared_ptr<http2::Connection>>> Channel::connection(StopToken stop) {
  auto permit = co_await connecting_.acquire(stop);
  if (!permit) co_return fail(std::move(permit).error());
  if (scope_.stop_requested()) co_return fail(ErrorCode::kCancelled, "the channel was closed");
  if (connection_ && !connection_->ending()) co_return connection_;
  auto transport = co_await connector_(stop);
  if (!transport) co_return fail(std::move(transport).error());
  if (scope_.stop_requested()) co_return fail(ErrorCode::kCancelled, "the channel was closed");
  auto made = http2::Connection::create(loop_, http2::Role::kClient, options_.http2, std::move(*transport));
  connection_ = made;
  // Its first write may fail at once; it is not ours any more then, and the call on it fails as on any that ended.
  scope_.spawn(drive(made));
  co_return made;
}

Task<Result<std::unique_ptr<ClientCall>>> Channel::start(std::string path, CallOptions options, StopToken stop) {
  auto call = std::make_unique<ClientCall>(loop_, options, options_.message_max, std::move(stop));
  auto made = co_await connection(call->stop_);
  if (!made) {
    if (call->deadline_ && call->deadline_->expired()) co_return fail(ErrorCode::kTimeout, "the call's deadline passed");
    co_return fail(std::move(made).error());
  }
  http2::Headers headers = {{":method", "POST"},        {":scheme", options_.scheme},
                            {":path", std::move(path)}, {":authority", options_.authority},
                            {"te", "trailers"},         {"content-type", "application/grpc"},
                            {"user-agent", "weft"}};
  if (options.deadline) headers.emplace_back("grpc-timeout", format_timeout(*options.deadline));
  for (auto& field : options.metadata) headers.push_back(std::move(field));
  auto stream = (*made)->open(headers, http2::Stream::Body::kFollows);
  if (!stream) co_return fail(std::move(stream).error());
  call->stream_ = std::move(*stream);
  call->on_stop_.emplace(call->stop_, [raw = call.get()] { raw->cancel(); });
  co_return std::move(call);
}

Task<Reply> Channel::unary(std::string path, std::string request, CallOptions options, StopToken stop) {
  auto started = co_await start(std::move(path), std::move(options), std::move(stop));
  if (!started) co_return Reply{from_error(started.error()), {}};
  auto& call = **started;
  // A server may answer before it has read everything; only the answer counts.
  auto written = co_await call.write(std::move(request));
  if (written) written = call.finish_writing();
  Reply reply;
  auto first = co_await call.read();
  if (first) {
    reply.message = std::move(*first);
    auto second = co_await call.read();
    if (second) co_return Reply{{Code::kInternal, "two answers to a unary call"}, {}};
    reply.status = call.status();
  } else {
    reply.status = call.status();
    if (reply.status.ok()) reply.status = {Code::kInternal, "no answer to a unary call"};
  }
  co_return std::move(reply);
}

void Channel::reconnect() {
  if (connection_) connection_->shutdown();
  connection_.reset();
}

Task<void> Channel::close() {
  scope_.request_stop();
  co_await scope_.join();
  connection_.reset();
}

}  // namespace weft::grpc
