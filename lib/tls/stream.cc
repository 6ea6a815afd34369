#include "lib/tls/stream.h"

#include <algorithm>
#include <utility>

namespace weft::tls {
namespace {

// Encrypted and handed down in one go: enough for one large gathered send, little enough to hold while it is under way.
constexpr std::size_t kWritePortion = 256 * 1024;
// Asking for less than a record from below would only cut it.
constexpr std::size_t kReadMin = kRecordSizeMax + 1024;

Task<Result<std::unique_ptr<Stream>>> start(io::StreamPtr below, std::shared_ptr<const Context> context, Role role,
                                            Verification verification, StopToken stop, Pace::Queue* pace) {
  auto engine = Engine::create(std::move(context), role, std::move(verification));
  WEFT_CO_TRY(auto made, std::move(engine));
  auto stream = std::make_unique<Stream>(std::move(below), std::move(made));
  StopCallback on_stop(stop, [raw = stream.get()] { raw->abort(io::AbortReason::kCancel); });
  auto done = co_await stream->handshake(pace);
  if (!done) co_return fail(std::move(done).error());
  co_return std::move(stream);
}

}  // namespace

Stream::Stream(io::StreamPtr below, std::unique_ptr<Engine> engine) : below_(std::move(below)), engine_(std::move(engine)) {}

// Sends whatever the engine has put out. While another call is doing so it will also send what came later.
Task<Result<void>> Stream::flush() {
  if (flushing_) co_return Result<void>{};
  flushing_ = true;
  while (!write_error_ && engine_->has_output()) {
    auto written = co_await below_->write(engine_->take_output());
    if (!written) write_error_ = std::move(written).error();
  }
  flushing_ = false;
  if (write_error_) co_return fail(*write_error_);
  co_return Result<void>{};
}

// Who writes is paused by a peer that does not take what a read has to say.
struct Stream::ReadFlushed {
  Stream& stream;
  bool await_ready() const { return !stream.read_flushes_; }
  void await_suspend(std::coroutine_handle<> handle) { stream.writer_ = handle; }
  void await_resume() const {}
};

Task<Result<void>> Stream::handshake(Pace::Queue* pace) {
  for (bool received = false;; received = true) {
    if (pace && received) co_await pace->turn();
    auto done = engine_->handshake();
    auto sent = co_await flush();
    if (!done) {
      // Behind the alert an orderly end: a reset might overtake it.
      auto closed = co_await below_->shutdown_write();
      (void)closed;
      co_return fail(std::move(done).error());
    }
    if (!sent) co_return fail(std::move(sent).error().within("tls handshake error"));
    if (*done) co_return Result<void>{};
    auto bytes = co_await below_->read(kReadMin);
    if (!bytes) co_return fail(std::move(bytes).error().within("tls handshake error"));
    if (bytes->empty()) {
      engine_->receive_end();
    } else {
      below_->consumed(bytes->size());
      engine_->receive(std::move(*bytes));
    }
  }
}

Task<Result<BufferChain>> Stream::read(std::size_t max) {
  std::size_t received = 0;
  for (;;) {
    if (read_error_) co_return fail(*read_error_);
    BufferChain plain;
    auto decrypted = engine_->decrypt(plain);
    if (!decrypted) read_error_ = std::move(decrypted).error();
    // Records of a few bytes cost as much each as full ones: of those the next read takes few.
    if (received > 0 && !plain.empty()) read_max_ = plain.size() >= received / 2 ? std::max(max, kReadMin) : kReadMin;
    if (engine_->has_output() && !flushing_) {  // an alert; after that which refuses another handshake TLS 1.2 goes on
      read_flushes_ = true;
      auto sent = co_await flush();
      (void)sent;  // the next write will say so
      read_flushes_ = false;
      if (auto writer = std::exchange(writer_, nullptr)) writer.resume();
    }
    if (!plain.empty()) {
      plain_unconsumed_ += plain.size();
      co_return std::move(plain);
    }
    if (read_error_) continue;
    if (engine_->ended()) co_return BufferChain();
    auto bytes = co_await below_->read(std::min(std::max(max, kReadMin), read_max_));
    if (!bytes) {
      read_error_ = std::move(bytes).error();
    } else if (bytes->empty()) {
      engine_->receive_end();
    } else {
      received = bytes->size();
      cipher_unconsumed_ += received;
      engine_->receive(std::move(*bytes));
    }
  }
}

// The layer below counts cipher bytes: it is told of its share of them.
void Stream::consumed(std::size_t count) {
  count = std::min(count, plain_unconsumed_);
  if (count == 0) return;
  const std::size_t share = count == plain_unconsumed_ ? cipher_unconsumed_
                                                       : static_cast<std::size_t>(static_cast<double>(cipher_unconsumed_) *
                                                                                  static_cast<double>(count) /
                                                                                  static_cast<double>(plain_unconsumed_));
  plain_unconsumed_ -= count;
  cipher_unconsumed_ -= share;
  below_->consumed(share);
}

Task<Result<void>> Stream::write(BufferChain data) {
  while (!data.empty()) {
    auto encrypted = engine_->encrypt(data.split(kWritePortion));
    if (!encrypted) co_return encrypted;
    ReadFlushed room{*this};
    co_await room;
    auto sent = co_await flush();
    if (!sent) co_return sent;
  }
  co_return Result<void>{};
}

Task<Result<void>> Stream::shutdown_write() {
  engine_->close_notify();
  ReadFlushed room{*this};
  co_await room;
  auto sent = co_await flush();
  if (!sent) co_return sent;
  auto closed = co_await below_->shutdown_write();
  co_return closed;
}

void Stream::abort(io::AbortReason reason) { below_->abort(reason); }

Task<Result<std::unique_ptr<Stream>>> connect(io::StreamPtr below, std::shared_ptr<const Context> context,
                                              Verification verification, StopToken stop, Pace::Queue* pace) {
  auto stream = co_await start(std::move(below), std::move(context), Role::kClient, std::move(verification), stop, pace);
  co_return std::move(stream);
}

Task<Result<std::unique_ptr<Stream>>> accept(io::StreamPtr below, std::shared_ptr<const Context> context,
                                             Verification verification, StopToken stop, Pace::Queue* pace) {
  auto stream = co_await start(std::move(below), std::move(context), Role::kServer, std::move(verification), stop, pace);
  co_return std::move(stream);
}

}  // namespace weft::tls
