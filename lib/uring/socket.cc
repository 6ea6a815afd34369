#include "lib/uring/socket.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <coroutine>
#include <optional>

#include "lib/base/check.h"
#include "lib/linux/send_progress.h"
#include "lib/linux/socket_options.h"

namespace weft::uring {
namespace {

// Up to this size received bytes are copied, so that trickling connections do not tie up 64 KiB buffers.
constexpr std::size_t kCopyUpTo = 2048;
constexpr std::size_t kSlicesPerSend = 32;

class SocketState final {
 public:
  SocketState(Loop& loop, Fd fd) : loop_(loop), fd_(fd.release()) {}
  SocketState(const SocketState&) = delete;

  // What the stream asks for.
  bool has_data() const { return !received_.empty() || tail_; }
  bool ended() const { return end_of_stream_ || receive_error_ != 0; }
  BufferChain take(std::size_t max);
  void receive_more();
  Error note(int os_error, std::string_view call);
  void abort(io::AbortReason reason);
  void detach();

  struct Readable {
    SocketState& state;
    bool await_ready() const { return state.has_data() || state.ended() || state.aborted_; }
    void await_suspend(std::coroutine_handle<> handle) { state.reader_ = handle; }
    void await_resume() const {}
  };

  struct Receive final : Operation {
    explicit Receive(SocketState& owner) : state(owner) {}
    void complete(int result, unsigned flags) override { state.received(result, flags); }
    SocketState& state;
  };

  Loop& loop_;
  const int fd_;
  bool aborted_ = false;
  bool reset_ = false;
  bool short_send_ = false;
  int receive_error_ = 0;
  Operation* sending_ = nullptr;

 private:
  ~SocketState() { loop_.close_descriptor(fd_); }
  void drop() {
    if (--references_ == 0) delete this;
  }
  void received(int result, unsigned flags);
  void store(unsigned id, std::size_t size);
  void flush_tail();
  // After the other completions of this turn: the reader then takes all that came, and sends it on in one piece.
  void wake_reader() {
    loop_.post([reader = std::exchange(reader_, nullptr)] { reader.resume(); });
  }

  Receive receive_{*this};
  BufferChain received_;
  std::optional<BufferWriter> tail_;  // small receives gathered while nobody reads
  std::coroutine_handle<> reader_;
  unsigned references_ = 1;
  bool receiving_ = false;
  bool end_of_stream_ = false;
};

void SocketState::receive_more() {
  if (receiving_ || ended() || aborted_ || received_.size() >= kReceiveCredit) return;
  receiving_ = true;
  ++references_;
  loop_.prepare_receive(receive_, fd_, kReceiveCredit);
}

void SocketState::received(int result, unsigned flags) {
  const bool over = !(flags & IORING_CQE_F_MORE);
  if (over) receiving_ = false;
  const bool has_buffer = flags & IORING_CQE_F_BUFFER;
  const unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;
  if (result > 0 && has_buffer && !aborted_) {
    store(id, static_cast<std::size_t>(result));
  } else if (has_buffer) {
    loop_.buffers().recycle(id);
  }
  if (result == 0) {
    end_of_stream_ = true;
    // A send that was under way may have used up the news of a reset: io_uring then reports the part that was sent.
    if ((sending_ || short_send_) && linux::is_disconnected(fd_)) reset_ = true;
  } else if (result < 0 && result != -ENOBUFS && result != -EINTR && result != -EAGAIN) {
    receive_error_ = -result;
    if (result == -ECONNRESET) reset_ = true;
  }
  if (reader_) {
    if (has_data() || ended() || aborted_) {
      wake_reader();
    } else {
      receive_more();  // out of buffers: by the time this is submitted the turn has returned some
    }
  }
  if (over) drop();
}

void SocketState::store(unsigned id, std::size_t size) {
  BufferRing& buffers = loop_.buffers();
  if (size > kCopyUpTo) {
    flush_tail();
    received_.append(buffers.take(id, size));
    return;
  }
  auto bytes = buffers.look(id, size);
  if (reader_ && !has_data()) {
    received_.append(Buffer::copy_of(bytes));  // read at once
  } else {
    while (!bytes.empty()) {
      if (!tail_) tail_.emplace();
      bytes = bytes.subspan(tail_->append(bytes));
      if (!bytes.empty()) flush_tail();
    }
  }
  buffers.recycle(id);
}

void SocketState::flush_tail() {
  if (tail_) received_.append(tail_->take());
  tail_.reset();
}

BufferChain SocketState::take(std::size_t max) {
  flush_tail();
  return received_.split(max);
}

Error SocketState::note(int os_error, std::string_view call) {
  // The kernel reports a reset once, to whichever call comes first; the other sees an end of stream or EPIPE. While our
  // direction is open nothing else leads to EPIPE.
  if (os_error == ECONNRESET || os_error == EPIPE) reset_ = true;
  if (reset_) os_error = ECONNRESET;
  return Error::from_errno(os_error, call);
}

void SocketState::abort(io::AbortReason reason) {
  if (aborted_) return;
  aborted_ = true;
  if (reason == io::AbortReason::kReset) {
    linux::reset_connection(fd_);
  } else {
    ::shutdown(fd_, SHUT_RDWR);
  }
  received_.clear();
  tail_.reset();
  // Both have been woken by the socket's end; cancelling makes sure of it.
  if (receiving_) loop_.cancel(receive_);
  if (sending_) loop_.cancel(*sending_);
  if (reader_) wake_reader();
}

void SocketState::detach() {
  WEFT_CHECK(!reader_ && !sending_);
  if (receiving_ && !aborted_) {
    ::shutdown(fd_, SHUT_RDWR);
    loop_.cancel(receive_);
  }
  aborted_ = true;
  received_.clear();
  tail_.reset();
  drop();
}

// One send in the kernel; lives in the writer's frame, which stays suspended until it came home.
struct Send final : Operation {
  Send(SocketState& owner, const BufferChain& data) : state(owner) {
    message.msg_iov = parts.data();
    message.msg_iovlen = data.fill_iovec(parts.data(), parts.size());
    for (std::size_t i = 0; i < message.msg_iovlen; ++i) size += parts[i].iov_len;
  }
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    writer = handle;
    state.sending_ = this;
    io_uring_sqe* sqe = state.loop_.prepare(*this);
    // MSG_WAITALL: the kernel itself goes on after a partial send.
    if (message.msg_iovlen == 1) {
      io_uring_prep_send(sqe, state.fd_, parts[0].iov_base, parts[0].iov_len, MSG_WAITALL | MSG_NOSIGNAL);
    } else {
      io_uring_prep_sendmsg(sqe, state.fd_, &message, MSG_WAITALL | MSG_NOSIGNAL);
    }
  }
  int await_resume() const { return result; }
  void complete(int outcome, unsigned) override {
    state.sending_ = nullptr;
    result = outcome;
    writer.resume();
  }

  SocketState& state;
  std::coroutine_handle<> writer;
  int result = 0;
  std::size_t size = 0;
  msghdr message{};
  std::array<iovec, kSlicesPerSend> parts;
};

class Socket final : public io::Stream {
 public:
  Socket(Loop& loop, Fd fd) : state_(new SocketState(loop, std::move(fd))) {}
  ~Socket() override { state_->detach(); }

  Task<Result<BufferChain>> read(std::size_t max) override {
    SocketState& state = *state_;
    for (;;) {
      if (state.aborted_) co_return fail(ErrorCode::kCancelled, "connection aborted");
      if (state.has_data()) {
        auto data = state.take(max);
        state.receive_more();
        co_return std::move(data);
      }
      if (state.ended()) {
        if (state.receive_error_ != 0 || state.reset_) co_return fail(state.note(state.receive_error_, "read"));
        co_return BufferChain();
      }
      state.receive_more();
      SocketState::Readable readable{state};
      co_await readable;
    }
  }

  Task<Result<void>> write(BufferChain data) override {
    SocketState& state = *state_;
    while (!data.empty()) {
      if (state.aborted_) co_return fail(ErrorCode::kCancelled, "connection aborted");
      Send send(state, data);
      const int sent = co_await send;
      if (state.aborted_) co_return fail(ErrorCode::kCancelled, "connection aborted");
      if (sent < 0) co_return fail(state.note(-sent, "write"));
      data.remove_prefix(static_cast<std::size_t>(sent));
      state.short_send_ = static_cast<std::size_t>(sent) < send.size;
    }
    co_return Result<void>{};
  }

  Task<Result<void>> shutdown_write() override {
    if (state_->aborted_) co_return fail(ErrorCode::kCancelled, "connection aborted");
    if (::shutdown(state_->fd_, SHUT_WR) != 0) co_return fail(state_->note(errno, "shutdown"));
    co_return Result<void>{};
  }

  io::Backlog backlog() override {
    if (state_->aborted_) return {};
    const auto progress = linux::send_progress(state_->fd_);
    return {.waiting = progress.unsent > 0, .moved = progress.acknowledged};
  }

  void abort(io::AbortReason reason) override { state_->abort(reason); }

 private:
  SocketState* state_;
};

}  // namespace

io::StreamPtr make_stream(Loop& loop, Fd fd) { return std::make_unique<Socket>(loop, std::move(fd)); }

}  // namespace weft::uring
