#include <algorithm>

#include "lib/http2/connection.h"
#include "lib/http2/detail/stream_state.h"

namespace weft::http2 {

Stream::Stream(std::shared_ptr<Connection> connection, std::shared_ptr<State> state)
    : connection_(std::move(connection)), state_(std::move(state)) {}

Stream::~Stream() {
  auto& s = *state_;
  if (!s.closed && !(s.in_ended && s.out_ended)) {
    if (connection_->role_ == Role::kServer && s.out_ended) {
      connection_->session_.close_after_end(s.id);
    } else {
      connection_->session_.reset(s.id, ResetCode::kCancel);
    }
  }
  // Bytes nobody will take any more: their credit goes back to the connection, once.
  s.lost = nullptr;
  const auto left = s.unread() + std::exchange(s.unconsumed, 0);
  s.drop_unread();
  connection_->session_.consume(s.id, left);
  connection_->streams_.erase(s.id);
  connection_->touch();
}

Task<Result<BufferChain>> Stream::read(std::size_t max) {
  auto state = state_;
  auto& s = *state;
  if (s.unread() == 0 && !s.in_ended && !s.error) {
    s.readable.reset();
    auto woken = co_await s.readable.wait();
    (void)woken;
  }
  if (s.error && s.error->code() == ErrorCode::kCancelled) co_return fail(*s.error);
  s.flush_gathered();
  if (!s.in.empty()) {
    BufferChain data = s.in.split(max);
    s.unconsumed += data.size();
    co_return std::move(data);
  }
  if (s.in_ended) co_return BufferChain();
  co_return fail(*s.error);
}

void Stream::consumed(std::size_t count) {
  auto& s = *state_;
  count = std::min(count, s.unconsumed);
  s.unconsumed -= count;
  connection_->session_.consume(s.id, count);
  if (connection_->session_.wants_write()) connection_->touch();
}

Task<Result<void>> Stream::write(BufferChain data) {
  auto state = state_;
  auto& s = *state;
  if (s.error) co_return fail(*s.error);
  if (s.closed || s.out_ended || !s.responding) co_return fail(ErrorCode::kClosed, "the stream no longer takes data");
  if (data.empty()) co_return Result<void>{};
  s.writable.reset();
  s.written += data.size();
  connection_->session_.send(s.id, std::move(data), false);
  connection_->touch();
  auto room = co_await s.writable.wait();
  (void)room;
  if (s.error) co_return fail(*s.error);
  if (s.closed) co_return fail(ErrorCode::kClosed, "the stream no longer takes data");
  co_return Result<void>{};
}

io::Backlog Stream::backlog() {
  const auto queued = connection_->session_.queued(state_->id);
  return {.waiting = queued > 0, .moved = state_->written - queued};
}

Task<Result<void>> Stream::shutdown_write() {
  auto state = state_;
  auto& s = *state;
  auto result = finish({});
  while (result && !s.error && !s.closed && connection_->session_.queued(s.id) > 0) {
    s.writable.reset();
    auto sent = co_await s.writable.wait();
    (void)sent;
  }
  if (result && s.error) co_return fail(*s.error);
  co_return result;
}

Result<void> Stream::finish(Headers trailers) {
  auto& s = *state_;
  if (s.error) return fail(*s.error);
  if (std::exchange(s.out_ended, true)) return {};
  if (s.closed) return fail(ErrorCode::kClosed, "the stream is closed");
  connection_->session_.send(s.id, BufferChain(), true, std::move(trailers));
  connection_->touch();
  return {};
}

void Stream::abort(io::AbortReason reason) {
  auto& s = *state_;
  if (!s.closed && !connection_->ended(s)) {
    connection_->session_.reset(s.id, reason == io::AbortReason::kReset ? ResetCode::kConnectError : ResetCode::kCancel);
    connection_->touch();
  }
  s.error = Error(ErrorCode::kCancelled, "stream aborted");
  s.wake();
}

void Stream::on_lost(std::function<void()> lost) {
  state_->lost = std::move(lost);
  if (state_->error && state_->lost) std::exchange(state_->lost, nullptr)();
}

void Stream::stop_reading() {
  state_->error = Error(ErrorCode::kCancelled, "stream given up after its end was sent");
  state_->wake();
}

const Headers& Stream::request() const { return state_->request; }
const Headers& Stream::trailers() const { return state_->trailers; }

Task<Result<Headers>> Stream::response(StopToken stop) {
  auto state = state_;
  auto& s = *state;
  if (!s.response && !s.error) {
    auto woken = co_await s.answered.wait(stop);
    if (!woken) co_return fail(std::move(woken).error());
  }
  if (s.response) co_return *s.response;
  if (s.error) co_return fail(*s.error);
  co_return fail(ErrorCode::kClosed, "the stream ended without a response");
}

Result<void> Stream::respond(const Headers& headers, Body body) {
  auto& s = *state_;
  if (s.error) return fail(*s.error);
  if (s.closed) return fail(ErrorCode::kClosed, "the stream is closed");
  auto answered = connection_->session_.respond(s.id, headers, body == Body::kFollows);
  if (!answered) return answered;
  s.responding = body == Body::kFollows;
  s.out_ended = body == Body::kNone;
  connection_->touch();
  return {};
}

}  // namespace weft::http2
