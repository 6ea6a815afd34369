#include "lib/http2/connection.h"

#include <algorithm>

#include "lib/async/scope.h"

namespace weft::http2 {
namespace {

// What one read of the transport takes at most.
constexpr std::size_t kReadMax = 256 * 1024;
// After our last frame the peer gets this long to close; closing first could make the kernel drop what is still under way.
constexpr Duration kLinger = std::chrono::seconds(5);

}  // namespace

// Shared by the handle a user holds and the connection; either may go first.
struct Stream::State {
  explicit State(Loop& loop) : readable(loop), writable(loop), answered(loop) { writable.set(); }
  std::int32_t id = 0;
  Headers request;
  std::optional<Headers> response;
  Headers trailers;

  BufferChain in;              // received, not read yet
  std::size_t unconsumed = 0;  // read, not reported consumed yet
  bool in_ended = false;
  bool out_ended = false;
  bool responding = false;     // server: a response with a body was begun (clients: always)
  bool closed = false;         // the stream is gone from the session
  std::optional<Error> error;  // why it ended early
  Event readable;
  Event writable;
  Event answered;

  void end_early(Error why) {
    if (!error) error = std::move(why);
    wake();
  }
  void wake() {
    readable.set();
    writable.set();
    answered.set();
  }
};

// --- Stream -----------------------------------------------------------------------------------------------------------

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
  const auto left = s.in.size() + std::exchange(s.unconsumed, 0);
  s.in.clear();
  connection_->session_.consume(s.id, left);
  connection_->streams_.erase(s.id);
  connection_->touch();
}

Task<Result<BufferChain>> Stream::read(std::size_t max) {
  auto state = state_;
  auto& s = *state;
  if (s.in.empty() && !s.in_ended && !s.error) {
    s.readable.reset();
    auto woken = co_await s.readable.wait();
    (void)woken;
  }
  if (s.error && s.error->code() == ErrorCode::kCancelled) co_return fail(*s.error);
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
  connection_->session_.send(s.id, std::move(data), false);
  connection_->touch();
  auto room = co_await s.writable.wait();
  (void)room;
  if (s.error) co_return fail(*s.error);
  if (s.closed) co_return fail(ErrorCode::kClosed, "the stream no longer takes data");
  co_return Result<void>{};
}

Task<Result<void>> Stream::shutdown_write() {
  auto result = finish({});
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
  if (!s.closed && !(s.in_ended && s.out_ended)) {
    connection_->session_.reset(s.id, reason == io::AbortReason::kReset ? ResetCode::kConnectError : ResetCode::kCancel);
    connection_->touch();
  }
  s.error = Error(ErrorCode::kCancelled, "stream aborted");
  s.wake();
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

// --- Connection -------------------------------------------------------------------------------------------------------

std::shared_ptr<Connection> Connection::create(Loop& loop, Role role, const Settings& settings, io::StreamPtr transport) {
  return std::shared_ptr<Connection>(new Connection(loop, role, settings, std::move(transport)));
}

Connection::Connection(Loop& loop, Role role, const Settings& settings, io::StreamPtr transport)
    : loop_(loop),
      role_(role),
      settings_(settings),
      transport_(std::move(transport)),
      session_(role, settings, *this),
      dirty_(loop),
      ping_timer_([this] {
        if (lingering_) {
          end_with(lingered());
          return;
        }
        if (ping_waiting_) {
          end_with(fail(ErrorCode::kTimeout, "HBONE ping timeout/error"));
          return;
        }
        ping_waiting_ = true;
        session_.ping();
        touch();
        loop_.arm(ping_timer_, loop_.now() + settings_.ping_timeout);
      }) {}

Connection::~Connection() = default;

// Decides how the connection ended, once, and makes reader and writer see it.
void Connection::end_with(Result<void> outcome) {
  ending_ = true;
  if (outcome_) return;
  outcome_.emplace(std::move(outcome));
  transport_->abort(io::AbortReason::kCancel);
  touch();
}

Task<void> Connection::write_frames() {
  for (;;) {
    auto woken = co_await dirty_.wait();
    (void)woken;
    dirty_.reset();
    if (outcome_) co_return;
    BufferChain frames;
    if (session_.produce(frames)) {
      auto written = co_await transport_->write(std::move(frames));
      if (!written) {
        end_with(fail(std::move(written).error()));
        co_return;
      }
      dirty_.set();  // more may have become sendable meanwhile
      continue;
    }
    if (session_.finished()) {
      ending_ = true;
      if (session_.broken()) fail_all(*session_.broken());  // nobody waits until the peer has taken note
      auto closed = co_await transport_->shutdown_write();
      (void)closed;
      lingering_ = true;
      loop_.arm(ping_timer_, loop_.now() + kLinger);
      co_return;
    }
  }
}

Task<Result<void>> Connection::run(StopToken stop) {
  auto self = shared_from_this();
  running_ = true;
  StopCallback on_stop(stop, [this] { end_with(fail(ErrorCode::kCancelled, "connection closed by us")); });
  Scope writer(loop_);
  loop_.arm(ping_timer_, loop_.now() + settings_.ping_interval);
  touch();
  writer.spawn(write_frames());
  while (!outcome_) {
    auto data = co_await transport_->read(kReadMax);
    if (!data) {
      if (lingering_) {
        end_with(lingered());
      } else {
        end_with(fail(std::move(data).error()));
      }
      break;
    }
    if (data->empty()) {
      if (session_.broken() || !has_open_streams()) {
        end_with(lingered());
      } else {
        end_with(fail(ErrorCode::kReset, "the peer closed the connection under open streams"));
      }
      break;
    }
    const auto size = data->size();
    Result<void> parsed;
    while (parsed && !data->empty()) parsed = session_.receive(data->pop_front());
    transport_->consumed(size);
    touch();
    if (!parsed) {
      // The session may have a last GOAWAY to say; the transport takes what it can of it.
      BufferChain last;
      if (session_.produce(last) && !outcome_) {
        auto ignored = co_await transport_->write(std::move(last));
        (void)ignored;
      }
      end_with(std::move(parsed));
    }
  }
  touch();
  co_await writer.join();
  ping_timer_.cancel();
  over_ = true;
  fail_all(Error(ErrorCode::kReset, *outcome_ ? std::string("the connection closed") : outcome_->error().message()));
  transport_.reset();
  co_return *outcome_;
}

// How a connection ended whose session had nothing more to say.
Result<void> Connection::lingered() const {
  if (session_.broken()) return fail(*session_.broken());
  return {};
}

bool Connection::has_open_streams() const {
  return std::any_of(streams_.begin(), streams_.end(), [](const auto& entry) { return !entry.second->closed; });
}

void Connection::fail_all(const Error& error) {
  const Error reset(ErrorCode::kReset, error.message());
  // Waking posts; no stream handle goes away inside this loop.
  for (auto& [id, state] : streams_) {
    state->closed = true;
    if (!(state->in_ended && state->out_ended)) {
      // What was answered has bytes under way, and ends for its reader as cut off.
      state->end_early(state->response || role_ == Role::kServer ? reset : error);
    } else {
      state->wake();
    }
  }
}

Result<StreamPtr> Connection::open(const Headers& headers, Stream::Body body) {
  if (ending_ || over_) return fail(ErrorCode::kUnavailable, "the HTTP/2 connection is ending");
  auto id = session_.request(headers, body == Stream::Body::kFollows);
  if (!id) return fail(std::move(id).error());
  auto state = std::make_shared<Stream::State>(loop_);
  state->id = *id;
  state->responding = body == Stream::Body::kFollows;
  state->out_ended = body == Stream::Body::kNone;
  streams_[*id] = state;
  touch();
  return StreamPtr(new Stream(shared_from_this(), std::move(state)));
}

std::size_t Connection::active_streams() const { return streams_.size(); }

std::size_t Connection::capacity(std::uint32_t assumed) const {
  if (ending_ || over_) return 0;
  const std::size_t limit = session_.peer_max_streams(assumed);
  return limit > streams_.size() ? limit - streams_.size() : 0;
}

void Connection::shutdown() {
  if (ending_ || over_) return;
  ending_ = true;
  if (role_ == Role::kServer) {
    // The peer may be opening streams right now; they are counted in by the time it has answered.
    session_.announce_goaway();
    session_.ping();
    ping_waiting_ = true;
    goaway_after_ping_ = true;
    loop_.arm(ping_timer_, loop_.now() + settings_.ping_timeout);
  } else {
    session_.goaway(ResetCode::kNoError);
  }
  touch();
}

void Connection::close() { end_with(fail(ErrorCode::kCancelled, "connection closed by us")); }

void Connection::on_headers(std::int32_t id, Headers headers, bool, bool trailers) {
  if (role_ == Role::kServer && !trailers) {
    auto state = std::make_shared<Stream::State>(loop_);
    state->id = id;
    state->request = std::move(headers);
    streams_[id] = state;
    // Not from inside the parser: the handler may do anything.
    loop_.post([self = shared_from_this(), state = std::move(state)]() mutable {
      auto* raw = self.get();
      StreamPtr stream(new Stream(std::move(self), std::move(state)));
      if (raw->on_request_) raw->on_request_(std::move(stream));
    });
    return;
  }
  auto found = streams_.find(id);
  if (found == streams_.end()) return;
  if (trailers) {
    found->second->trailers = std::move(headers);
  } else {
    found->second->response = std::move(headers);
    found->second->answered.set();
  }
}

void Connection::on_data(std::int32_t id, Buffer data) {
  auto found = streams_.find(id);
  if (found == streams_.end() || found->second->error) {
    session_.consume(id, data.size());
    return;
  }
  found->second->in.append(std::move(data));
  found->second->readable.set();
}

void Connection::on_end_stream(std::int32_t id) {
  auto found = streams_.find(id);
  if (found == streams_.end()) return;
  found->second->in_ended = true;
  found->second->readable.set();
  found->second->answered.set();
}

void Connection::on_closed(std::int32_t id, std::uint32_t code) {
  auto found = streams_.find(id);
  if (found == streams_.end()) return;
  auto& s = *found->second;
  s.closed = true;
  if (code == static_cast<std::uint32_t>(ResetCode::kNoError)) {
    s.in_ended = true;
  } else if (!(s.in_ended && s.out_ended)) {
    // What was received before the reset is not delivered: TCP drops it as well.
    if (!s.error) session_.consume(id, s.in.size());
    if (!s.error) s.in.clear();
    s.end_early(code == static_cast<std::uint32_t>(ResetCode::kRefusedStream)
                    ? Error(ErrorCode::kUnavailable, "the peer refused the stream")
                    : Error(ErrorCode::kReset, "stream reset with HTTP/2 error " + std::to_string(code)));
  }
  s.wake();
}

void Connection::on_goaway() { ending_ = true; }

void Connection::on_ping_ack() {
  ping_waiting_ = false;
  if (std::exchange(goaway_after_ping_, false)) session_.goaway(ResetCode::kNoError);
  loop_.arm(ping_timer_, loop_.now() + settings_.ping_interval);
}

void Connection::on_sent(std::int32_t id, std::size_t left) {
  if (left > Stream::kQueuedMax) return;
  auto found = streams_.find(id);
  if (found != streams_.end()) found->second->writable.set();
}

}  // namespace weft::http2
