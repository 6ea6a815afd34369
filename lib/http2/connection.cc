#include "lib/http2/connection.h"

#include <algorithm>

#include "lib/async/scope.h"
#include "lib/http2/detail/stream_state.h"

namespace weft::http2 {
namespace {

// What one read of the transport takes at most.
constexpr std::size_t kReadMax = 256 * 1024;
// After our last frame the peer gets this long to close; closing first could make the kernel drop what is still under way.
constexpr Duration kLinger = std::chrono::seconds(5);
// And of what it goes on sending no more is taken than this.
constexpr std::size_t kUnheardMax = 256 * 1024;

Error too_costly(Breach breach) {
  return Error(ErrorCode::kLimit,
               "h2 failed: the peer sent too many or too costly frames: " + std::string(to_string(breach)));
}

}  // namespace

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
      }),
      header_timer_([this] {
        session_.give_up(Breach::kHeaderTimeout);
        leave(too_costly(Breach::kHeaderTimeout));
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

// Ends every stream now, tells the peer, and gives it a little time to take that: closing under what it still sends would
// make the kernel throw our last words away.
void Connection::leave(Error why) {
  if (left_) return;
  left_ = std::move(why);
  ending_ = lingering_ = true;
  header_timer_.cancel();
  fail_all(Error(ErrorCode::kReset, left_->message()));
  loop_.arm(ping_timer_, loop_.now() + kLinger);
  touch();
}

void Connection::watch_header_block() {
  if (!session_.header_block_open()) {
    if (header_timer_.armed()) header_timer_.cancel();
  } else if (!header_timer_.armed()) {
    loop_.arm(header_timer_, loop_.now() + kHeaderBlockTimeout);
  }
}

Task<void> Connection::write_frames() {
  for (;;) {
    auto woken = co_await dirty_.wait();
    (void)woken;
    dirty_.reset();
    if (outcome_) co_return;
    BufferChain frames;
    const bool produced = session_.produce(frames);
    if (session_.breach()) leave(too_costly(*session_.breach()));
    if (produced) {
      auto written = co_await transport_->write(std::move(frames));
      if (!written) {
        end_with(fail(std::move(written).error()));
        co_return;
      }
      dirty_.set();  // more may have become sendable meanwhile
      continue;
    }
    if (left_ || session_.finished()) {
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
  std::uint32_t frames = 0;  // handled in this turn
  MonotonicTime turn{};
  std::size_t unheard = 0;
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
      if (left_ || session_.broken() || !has_open_streams()) {
        end_with(lingered());
      } else {
        end_with(fail(ErrorCode::kReset, "the peer closed the connection under open streams"));
      }
      break;
    }
    const auto size = data->size();
    if (left_) {
      transport_->consumed(size);
      unheard += size;
      if (unheard > kUnheardMax) end_with(lingered());
      continue;
    }
    Result<void> parsed;
    // Reads that follow each other within one turn of the loop add up.
    const auto now = loop_.now();
    frames = now == turn ? frames + kFramesPerRead : 0;
    turn = now;
    while (parsed && !data->empty() && !outcome_ && !left_) {
      parsed = session_.receive(data->pop_front(), now);
      frames += session_.take_frame_count();
      if (frames < kFramesPerTurn) continue;
      // Others have their turn before the next frames of this peer.
      frames = 0;
      touch();
      co_await yield_to(loop_);
    }
    transport_->consumed(size);
    if (parsed && !left_) watch_header_block();
    touch();
    if (!parsed && session_.breach()) {
      leave(std::move(parsed).error());
    } else if (!parsed) {
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
  header_timer_.cancel();
  over_ = true;
  fail_all(Error(ErrorCode::kReset, *outcome_ ? std::string("the connection closed") : outcome_->error().message()));
  transport_.reset();
  co_return *outcome_;
}

// How a connection ended whose session had nothing more to say.
Result<void> Connection::lingered() const {
  if (left_) return fail(*left_);
  if (session_.broken()) return fail(*session_.broken());
  return {};
}

bool Connection::has_open_streams() const {
  return std::any_of(streams_.begin(), streams_.end(), [](const auto& entry) { return !entry.second->closed; });
}

bool Connection::ended(const Stream::State& state) const {
  return state.in_ended && state.out_ended && session_.queued(state.id) == 0;
}

void Connection::end_early(const std::shared_ptr<Stream::State>& state, Error why) {
  // Later: who hears of it may do anything, this may be a call of the parser.
  if (state->lost) {
    loop_.post([state] {
      if (auto tell = std::exchange(state->lost, nullptr)) tell();
    });
  }
  if (!state->error) state->error = std::move(why);
  state->wake();
}

void Connection::fail_all(const Error& error) {
  const Error reset(ErrorCode::kReset, error.message());
  // Waking posts; no stream handle goes away inside this loop.
  for (auto& [id, state] : streams_) {
    state->closed = true;
    if (!ended(*state)) {
      // What was answered has bytes under way, and ends for its reader as cut off.
      end_early(state, state->response || role_ == Role::kServer ? reset : error);
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
    if (streams_.size() >= kHandledPerAnnounced * settings_.max_concurrent_streams) {
      session_.reset(id, ResetCode::kRefusedStream);
      return;
    }
    auto state = std::make_shared<Stream::State>(loop_);
    state->id = id;
    state->request = std::move(headers);
    streams_[id] = state;
    // Not from inside the parser: the handler may do anything.
    loop_.post([self = shared_from_this(), state = std::move(state)]() mutable {
      auto* raw = self.get();
      const bool lost = state->error.has_value();  // taken back meanwhile: no work is begun for it
      StreamPtr stream(new Stream(std::move(self), std::move(state)));
      if (raw->on_request_ && !lost) raw->on_request_(std::move(stream));
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
  found->second->take_in(std::move(data));
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
  } else if (!ended(s)) {
    // What was received before the reset is still read, then the error: so does TCP, and an answer may stand before it.
    end_early(found->second, code == static_cast<std::uint32_t>(ResetCode::kRefusedStream)
                                 ? Error(ErrorCode::kUnavailable, "the peer refused the stream")
                                 : Error(ErrorCode::kReset, "stream reset with HTTP/2 error " + std::to_string(code)));
  }
  s.wake();
}

std::size_t Connection::slices_held() const {
  std::size_t count = 0;
  for (const auto& [id, state] : streams_) count += state->in.slice_count() + (state->gathered ? 1 : 0);
  return count;
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
