#include "lib/uring/listener.h"

#include <sys/socket.h>

#include <array>
#include <coroutine>
#include <deque>

#include "lib/uring/socket.h"

namespace weft::uring {
namespace {

// The kernel's side of a listener: counted by the listener and by each request.
class ListenerState final : public DescriptorWaiter {
 public:
  ListenerState(Loop& loop, Fd fd) : loop_(loop), fd_(fd.release()), pause_over_([this] { descriptor_closed(); }) {
    for (Request& request : requests_) request.state = this;
  }

  void accept_more() {
    if (closed_ || finished_ || paused_) return;
    for (Request& request : requests_) {
      if (request.in_kernel) continue;
      if (accepted_.size() + in_kernel_ >= kAcceptedMax) return;
      request.in_kernel = true;
      ++in_kernel_;
      ++references_;
      io_uring_prep_accept(loop_.prepare(request), fd_, nullptr, nullptr, SOCK_CLOEXEC);
    }
  }

  void completed(int result) {
    --in_kernel_;
    if (result >= 0) {
      if (closed_) {
        loop_.close_descriptor(result);
      } else {
        accepted_.emplace_back(result);
      }
    } else if (out_of_resources(-result)) {
      pause(-result);
    }
    // Anything else concerns a connection that is gone already (accept(2)), or is the listener's own end.
    if (waiting_ && (!accepted_.empty() || at_end())) {
      std::exchange(waiting_, nullptr).resume();
    } else if (waiting_) {
      accept_more();
    }
    drop();
  }

  void descriptor_closed() override {
    pause_over_.cancel();
    unlink();
    paused_ = false;
    if (waiting_) accept_more();
  }

  void close() {
    if (closed_) return;
    closed_ = true;
    ::shutdown(fd_, SHUT_RDWR);  // stops listening now, although the request still holds the socket
    pause_over_.cancel();
    unlink();
    cancel();
    for (auto& fd : accepted_) loop_.close_descriptor(fd.release());
    accepted_.clear();
    wake();
  }

  void finish() {
    if (closed_ || finished_) return;
    finished_ = true;
    for (auto& fd : io::leave_port(fd_, linux::Blocking::kYes)) accepted_.push_back(std::move(fd));
    pause_over_.cancel();
    unlink();
    cancel();  // what it has delivered by then is queued as well
    wake();
  }

  // Nothing more will come.
  bool at_end() const { return closed_ || (finished_ && in_kernel_ == 0 && accepted_.empty()); }

  void wake() {
    if (waiting_) loop_.post([waiting = std::exchange(waiting_, nullptr)] { waiting.resume(); });
  }
  void drop() {
    if (--references_ == 0) delete this;
  }

  struct NextAccepted {
    ListenerState& state;
    bool await_ready() const { return !state.accepted_.empty() || state.at_end(); }
    void await_suspend(std::coroutine_handle<> handle) { state.waiting_ = handle; }
    void await_resume() const {}
  };

  Loop& loop_;
  const int fd_;
  bool closed_ = false;
  bool finished_ = false;
  std::deque<Fd> accepted_;

 private:
  struct Request final : Operation {
    void complete(int result, unsigned) override {
      in_kernel = false;
      state->completed(result);
    }
    ListenerState* state = nullptr;
    bool in_kernel = false;
  };

  ~ListenerState() { loop_.close_descriptor(fd_); }
  void pause(int os_error) {
    if (paused_ || closed_ || finished_) return;
    notice_.write(os_error, loop_.now());
    paused_ = true;
    loop_.arm(pause_over_, loop_.now() + io::kAcceptPause);
    loop_.wait_for_descriptor(*this);
  }
  void cancel() {
    for (Request& request : requests_) {
      if (request.in_kernel) loop_.cancel(request);
    }
  }

  std::array<Request, kAcceptedMax> requests_;
  std::size_t in_kernel_ = 0;
  Timer pause_over_;
  io::PauseNotice notice_;
  std::coroutine_handle<> waiting_;
  unsigned references_ = 1;
  bool paused_ = false;
};

class SocketListener final : public io::Listener {
 public:
  SocketListener(Loop& loop, Fd fd, const io::ListenOptions& options)
      : address_(linux::local_address(fd.get()).value_or(SocketAddress())),
        options_(options),
        state_(new ListenerState(loop, std::move(fd))) {}
  ~SocketListener() override {
    state_->close();
    state_->drop();
  }

  Task<Result<io::Accepted>> accept(StopToken stop) override {
    ListenerState& state = *state_;
    StopCallback on_stop(stop, [&state] { state.wake(); });
    for (;;) {
      if (state.finished_) co_await yield_to(state.loop_);  // the kernel's whole queue is here: others have their turns too
      if (state.at_end() || stop.stop_requested()) co_return fail(ErrorCode::kCancelled, "listener closed");
      state.accept_more();
      ListenerState::NextAccepted next{state};
      co_await next;
      if (state.accepted_.empty()) continue;
      Fd fd = std::move(state.accepted_.front());
      state.accepted_.pop_front();
      auto accepted = io::describe_accepted(fd.get(), options_);
      if (!accepted) {
        state.loop_.close_descriptor(fd.release());
        continue;  // gone again
      }
      accepted->stream = make_stream(state.loop_, std::move(fd));
      co_return accepted;
    }
  }

  void close() override { state_->close(); }
  void yield_port() override { io::yield_port(state_->fd_); }
  void finish() override { state_->finish(); }
  SocketAddress address() const override { return address_; }
  Result<void> set_transparent() override { return linux::set_transparent(state_->fd_); }

 private:
  SocketAddress address_;
  io::ListenOptions options_;
  ListenerState* state_;
};

}  // namespace

io::ListenerPtr make_listener(Loop& loop, Fd fd, const io::ListenOptions& options) {
  return std::make_unique<SocketListener>(loop, std::move(fd), options);
}

}  // namespace weft::uring
