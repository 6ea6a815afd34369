// A two-way byte stream whose directions end independently: a TCP socket, TLS over one, an HTTP/2 stream, a pipe.
//
// Thread: the loop that made it. At most one read() and one write() are in flight at a time; they may overlap each other.
// Destroying a stream with a call in flight is a bug; abort() first and await the call's end. Destroying one otherwise
// gives the connection up: TCP closes, an unfinished HTTP/2 stream is reset with CANCEL. The kernel's own use of memory may
// outlast the object; implementations keep that part alive until it came home.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "lib/async/task.h"
#include "lib/base/buffer.h"
#include "lib/base/result.h"

namespace weft::io {

// Why a stream is given up before its end.
enum class AbortReason {
  kReset,   // the other side of the tunnel was reset: send TCP RST, RST_STREAM(CONNECT_ERROR)
  kCancel,  // our decision (drain, policy, error): close TCP, RST_STREAM(CANCEL)
};

// What write() took and the reader at the other end did not.
struct Backlog {
  bool waiting = false;     // there are such bytes, and the reader gives no room for them
  std::uint64_t moved = 0;  // bytes that found room, counted from any beginning; only differences mean something
};

class Stream {
 public:
  virtual ~Stream() = default;

  // Waits for bytes: at least one, at most about `max` (a slice is not cut to fit). An empty chain is the end of the stream.
  // While nothing arrives no buffer is held. kReset when the peer reset, kCancelled after abort().
  virtual Task<Result<BufferChain>> read(std::size_t max) = 0;

  // Says that `count` bytes handed out by read() reached their destination; layers with flow control then give the peer new
  // credit. Bytes never reported stay charged against the peer until the stream is destroyed.
  virtual void consumed(std::size_t count) { (void)count; }

  // Takes the bytes and returns when the layer below has taken them, or is far enough ahead that the writer may go on;
  // a slow reader pauses its writer here. kClosed or kReset when the peer no longer reads.
  virtual Task<Result<void>> write(BufferChain data) = 0;

  // For who looks from time to time whether the reader still reads: a system call, or as much. The end of a pump that has no
  // such knowledge (TLS, a pipe) says that nothing waits.
  virtual Backlog backlog() { return {}; }

  // Ends our direction after all written bytes (TCP FIN, END_STREAM, close_notify). No write() may follow.
  virtual Task<Result<void>> shutdown_write() = 0;

  // Gives up both directions now. Calls in flight, and later ones, end with kCancelled. Idempotent.
  virtual void abort(AbortReason reason) = 0;
};

using StreamPtr = std::unique_ptr<Stream>;

}  // namespace weft::io
