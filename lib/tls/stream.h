// TLS over any byte stream. connect() and accept() run the handshake; the result is an ordinary io::Stream.
//
// Back-pressure is that of the stream below: one write is in flight at a time and write() returns when it was taken. A read
// may have something to send too, an alert: a write waits for that, and is then resumed on the read's stack.
// An idle connection holds no I/O buffer. An end without close_notify is the error kClosed from read(): somebody may
// have cut the data short. shutdown_write() sends close_notify and then ends the direction below; reading goes on.
#pragma once

#include <coroutine>
#include <limits>
#include <memory>
#include <optional>

#include "lib/async/pace.h"
#include "lib/async/stop.h"
#include "lib/io/stream.h"
#include "lib/tls/engine.h"

namespace weft::tls {

class Stream final : public io::Stream {
 public:
  Stream(io::StreamPtr below, std::unique_ptr<Engine> engine);

  Task<Result<BufferChain>> read(std::size_t max) override;
  void consumed(std::size_t count) override;
  Task<Result<void>> write(BufferChain data) override;
  Task<Result<void>> shutdown_write() override;
  void abort(io::AbortReason reason) override;

  // None when the verification asked for none.
  const std::optional<model::Identity>& peer_identity() const { return engine_->peer_identity(); }
  const Engine& engine() const { return *engine_; }

  // Part of connect() and accept().
  Task<Result<void>> handshake(Pace::Queue* pace);

 private:
  Task<Result<void>> flush();
  struct ReadFlushed;

  io::StreamPtr below_;
  std::unique_ptr<Engine> engine_;
  bool flushing_ = false;
  bool read_flushes_ = false;                                       // a read is what does so
  std::coroutine_handle<> writer_;                                  // waits for that read
  std::optional<Error> write_error_;                                // what ended the direction below
  std::size_t read_max_ = std::numeric_limits<std::size_t>::max();  // what one read takes from below
  std::optional<Error> read_error_;                                 // came together with data that was delivered first
  std::size_t cipher_unconsumed_ = 0;                               // received from below, not yet reported consumed there
  std::size_t plain_unconsumed_ = 0;                                // given to the reader, not yet reported consumed by it
};

// Takes `below` over; on failure it is closed after the alert was sent. The caller bounds the time with `stop`'s deadline.
// Errors: kTls and kIdentity as engine.h says, kCancelled, or what the stream below reported.
// `pace`: where the costly steps wait for their turn; null: they do not. Outlives the call.
Task<Result<std::unique_ptr<Stream>>> connect(io::StreamPtr below, std::shared_ptr<const Context> context,
                                              Verification verification, StopToken stop, Pace::Queue* pace = nullptr);
Task<Result<std::unique_ptr<Stream>>> accept(io::StreamPtr below, std::shared_ptr<const Context> context,
                                             Verification verification, StopToken stop, Pace::Queue* pace = nullptr);

}  // namespace weft::tls
