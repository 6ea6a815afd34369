// One HTTP/2 connection over a byte stream, client or server: a reader, a writer and a PING clock around a session.
//
//   auto connection = Connection::create(loop, Role::kClient, settings, std::move(tls));
//   scope.spawn(connection->run(scope.token()));
//   auto stream = connection->open(headers);
//
// Thread: the loop's. run() owns the I/O and ends when the connection is over; everything else may be called before,
// meanwhile and afterwards (then it fails). Idle connections and streams hold no buffers.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

#include "lib/async/event.h"
#include "lib/async/loop.h"
#include "lib/async/stop.h"
#include "lib/http2/session.h"
#include "lib/io/stream.h"

namespace weft::http2 {

class Connection;

// One request and its response. As an io::Stream it is the data phase; destroying it before both directions ended resets
// the stream with CANCEL.
//
// Ends: END_STREAM is the end of the stream; RST_STREAM(NO_ERROR) ends it as well; any other reset is kReset, so that a cut
// transfer never looks complete. abort(kReset) sends CONNECT_ERROR (RFC 9113 §8.5), abort(kCancel) CANCEL.
// Back-pressure: write() waits while more than kQueuedMax bytes of this stream are not in frames yet.
class Stream final : public io::Stream {
 public:
  static constexpr std::size_t kQueuedMax = 64 * 1024;

  ~Stream() override;

  Task<Result<BufferChain>> read(std::size_t max) override;
  void consumed(std::size_t count) override;
  Task<Result<void>> write(BufferChain data) override;
  // Those whose windows the peer does not open.
  io::Backlog backlog() override;
  // Returns when what was written before is in frames: until then the stream is its writer's, and counts.
  Task<Result<void>> shutdown_write() override;
  void abort(io::AbortReason reason) override;

  // Server: what was asked. Client: empty.
  const Headers& request() const;
  // Client: waits for the response's headers. kReset, kClosed, kCancelled when none will come.
  Task<Result<Headers>> response(StopToken stop);
  // Server: answers; with `end` the response has no body.
  enum class Body { kNone, kFollows };
  Result<void> respond(const Headers& headers, Body body);
  // Called once, on the connection's stack, when the stream ends early before `respond()`: nobody waits for the answer.
  // Take it back (an empty one) before what it refers to is gone.
  void on_lost(std::function<void()> lost);
  // Ends our direction with trailers instead of plainly.
  Result<void> finish(Headers trailers);
  // Our side of the exchange is over: reads under way and later ones end with kCancelled, without a reset. After finish().
  void stop_reading();
  // What came after the body; empty until read() has shown the end of the stream.
  const Headers& trailers() const;

 private:
  friend class Connection;
  struct State;
  Stream(std::shared_ptr<Connection> connection, std::shared_ptr<State> state);
  std::shared_ptr<Connection> connection_;
  std::shared_ptr<State> state_;
};

using StreamPtr = std::unique_ptr<Stream>;

class Connection final : public std::enable_shared_from_this<Connection>, private SessionEvents {
 public:
  static std::shared_ptr<Connection> create(Loop& loop, Role role, const Settings& settings, io::StreamPtr transport);
  ~Connection();

  // Server: called for each request, on a later turn than its arrival. Set before run().
  void on_request(std::function<void(StreamPtr)> handler) { on_request_ = std::move(handler); }

  // Drives the connection to its end. ok: orderly (GOAWAY and no streams, or the peer closed between streams). kLimit: the
  // peer cost too much, breach() says by what; it was told ENHANCE_YOUR_CALM. kProtocol: it broke the rules.
  Task<Result<void>> run(StopToken stop);

  // Client: opens a stream. kUnavailable when the connection is ending; kLimit when the peer's stream limit is reached.
  Result<StreamPtr> open(const Headers& headers, Stream::Body body);
  // Streams that may still be opened: 0 once the connection is ending. `assumed`: the limit we set ourselves.
  std::size_t capacity(std::uint32_t assumed) const;
  std::size_t active_streams() const;
  // Streams may be opened, but would hardly carry a byte: see Session.
  bool window_used_up() const { return session_.window_used_up(); }
  // No new streams: GOAWAY was seen or sent, or the connection is over.
  bool ending() const { return ending_; }

  const std::optional<Breach>& breach() const { return session_.breach(); }

  // Orderly end: GOAWAY now; streams go on; the connection closes after the last one.
  void shutdown();
  // Ends it now; every stream fails with kReset.
  void close();

  io::Stream& transport() { return *transport_; }
  // Bytes received and not given back by consumed(), over all streams, for tests.
  std::size_t unconsumed() const { return session_.unconsumed(); }
  // Slices of received data held for readers, for tests.
  std::size_t slices_held() const;
  const Session& session() const { return session_; }

 private:
  friend class Stream;
  Connection(Loop& loop, Role role, const Settings& settings, io::StreamPtr transport);

  void on_headers(std::int32_t id, Headers headers, bool end_stream, bool trailers) override;
  void on_data(std::int32_t id, Buffer data) override;
  void on_end_stream(std::int32_t id) override;
  void on_closed(std::int32_t id, std::uint32_t code) override;
  void on_goaway() override;
  void on_ping_ack() override;
  void on_sent(std::int32_t id, std::size_t left) override;

  Task<void> write_frames();
  void watch_header_block();
  void touch() { dirty_.set(); }
  void end_early(const std::shared_ptr<Stream::State>& state, Error why);
  void fail_all(const Error& error);
  void leave(Error why);
  void end_with(Result<void> outcome);
  bool has_open_streams() const;
  // Both directions are over. An end behind bytes that wait for a window has not left, and is lost with them.
  bool ended(const Stream::State& state) const;
  Result<void> lingered() const;

  Loop& loop_;
  const Role role_;
  const Settings settings_;
  io::StreamPtr transport_;
  Session session_;
  std::unordered_map<std::int32_t, std::shared_ptr<Stream::State>> streams_;
  std::function<void(StreamPtr)> on_request_;
  Event dirty_;
  Timer ping_timer_;
  Timer header_timer_;  // armed while a header block is incomplete
  bool running_ = false;
  bool ending_ = false;
  bool over_ = false;
  bool ping_waiting_ = false;
  bool goaway_after_ping_ = false;
  bool lingering_ = false;     // everything was said; waiting for the peer to close
  std::optional<Error> left_;  // why the peer is left: it is told, nothing it sends counts any more
  std::optional<Result<void>> outcome_;
};

}  // namespace weft::http2
