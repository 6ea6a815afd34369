// HTTP/2 framing without I/O: bytes in become events, requests and data become bytes out. The only place naming nghttp2.
//
// Received DATA is handed on as slices of the input; sent DATA is taken from slices given to send(): no payload is copied.
// Flow-control credit is given back only by consume(). Thread: one. Errors of a peer surface as a failed receive(), or as
// broken() once produce() has yielded the GOAWAY to send; the session is then finished.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "lib/base/buffer.h"
#include "lib/base/result.h"
#include "lib/http2/budget.h"
#include "lib/http2/settings.h"

namespace weft::http2 {

// What a session reports, during receive() and produce(). Handlers may call the session's submitting functions.
class SessionEvents {
 public:
  virtual ~SessionEvents() = default;
  // A request (server), a response or trailers (client). `trailers` tells a block that ends an open message.
  virtual void on_headers(std::int32_t stream, Headers headers, bool end_stream, bool trailers) = 0;
  virtual void on_data(std::int32_t stream, Buffer data) = 0;
  virtual void on_end_stream(std::int32_t stream) = 0;
  // The stream no longer exists; `code` is an RFC 9113 error code, 0 after an orderly end. `by_peer`: RST_STREAM received.
  virtual void on_closed(std::int32_t stream, std::uint32_t code) = 0;
  virtual void on_goaway() = 0;
  virtual void on_ping_ack() = 0;
  // Bytes queued for a stream were put into frames; `left` are still queued.
  virtual void on_sent(std::int32_t stream, std::size_t left) = 0;
};

class Session {
 public:
  // `events` outlives the session. The connection preface and SETTINGS are queued at once.
  Session(Role role, const Settings& settings, SessionEvents& events);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // kProtocol when the peer broke the rules of the connection, kLimit when it cost too much (breach()).
  Result<void> receive(const Buffer& input, MonotonicTime now);
  // Appends every frame that may leave now to `out`; false when there was none. About 256 KiB at a time:
  // call again until it returns false.
  bool produce(BufferChain& out);
  bool wants_write() const;
  // What the peer did too much of, in receive() or seen in produce(); the GOAWAY is queued or produced.
  const std::optional<Breach>& breach() const;
  // The same as if a limit had been exceeded here.
  void give_up(Breach why);
  // A header block was begun and is not complete.
  bool header_block_open() const;
  // Frames begun since the last call.
  std::uint32_t take_frame_count();
  // Neither side will send more: GOAWAY done and no streams left.
  bool finished() const;
  // Which rule the peer broke, when our GOAWAY named an error.
  const std::optional<Error>& broken() const;

  // Opens a stream. With `has_body` data follows by send(); else the request ends the direction. kLimit when ids ran out.
  Result<std::int32_t> request(const Headers& headers, bool has_body);
  // Server: the response's header block.
  Result<void> respond(std::int32_t stream, const Headers& headers, bool has_body);
  // Queues data; it leaves as windows allow. `end` ends our direction, after `trailers` when there are any.
  void send(std::int32_t stream, BufferChain data, bool end, Headers trailers = {});
  // Bytes of it that no frame took yet, for want of a window or of a turn; 0 when the stream is gone.
  std::size_t queued(std::int32_t stream) const;
  void reset(std::int32_t stream, ResetCode code);
  // Server: the response is complete or queued, the rest of the request is not wanted: RST_STREAM(NO_ERROR) follows our
  // END_STREAM (RFC 9113 §8.1). A plain reset() would overtake what is queued.
  void close_after_end(std::int32_t stream);
  // `count` received bytes were taken: gives the credit back, for the connection also when the stream is gone. The peer
  // hears of it at half of the stream's window; for the connection at half of what stalled readers leave of it.
  void consume(std::int32_t stream, std::size_t count);
  void ping();
  // Server: announces the end, streams already open go on. Two steps so that requests under way are not lost.
  void announce_goaway();
  void goaway(ResetCode code);

  // Less than one full DATA frame may still be sent to the peer, or by it, on the whole connection. A window that all
  // readers empty is seldom so small; one whose bytes wait for readers that stall is, and stays so.
  bool window_used_up() const;
  // Limit the peer announced; what we assume before its SETTINGS arrive is `assumed`.
  std::uint32_t peer_max_streams(std::uint32_t assumed) const;
  // Bytes received whose credit was not given back yet, over all streams; for tests.
  std::size_t unconsumed() const;
  // Bytes that the HPACK tables hold (RFC 7541 §4.1), the peer's and ours; for tests.
  struct HeaderTables {
    std::size_t received, sent;
  };
  HeaderTables header_tables() const;
  // DATA frames of a few bytes that were not taken yet; for tests.
  std::uint32_t tiny_unread() const;

 private:
  struct Native;
  std::unique_ptr<Native> native_;
};

}  // namespace weft::http2
