#include "lib/asio/detail/socket_listener.h"

#include <sys/socket.h>

#include <cerrno>
#include <deque>

#include "lib/asio/detail/descriptor.h"
#include "lib/asio/stream.h"
#include "lib/io/kernel_sockets.h"

namespace weft::asio {
namespace {

class SocketListener final : public io::Listener {
 public:
  SocketListener(Loop& loop, Fd fd, SocketKind kind, const io::ListenOptions& options)
      : loop_(loop), kind_(kind), options_(options), descriptor_(loop, std::move(fd)) {
    if (kind_ == SocketKind::kTcp) address_ = linux::local_address(descriptor_.fd()).value_or(SocketAddress());
  }
  ~SocketListener() override { close(); }

  Task<Result<io::Accepted>> accept(StopToken stop) override {
    StopCallback on_stop(stop, [this] { wake(); });
    for (;;) {
      // The kernel's queue may never be empty, and whoever takes from it may come back at once.
      if (taken_ == io::kAcceptedPerTurn) {
        co_await yield_to(loop_);
        taken_ = 0;
      }
      if (closed_ || stop.stop_requested() || (finished_ && queued_.empty()))
        co_return fail(ErrorCode::kCancelled, "listener closed");
      Fd fd;
      if (finished_) {
        fd = std::move(queued_.front());
        queued_.pop_front();
      } else {
        fd = Fd(::accept4(descriptor_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      }
      const int os_error = errno;
      ++taken_;
      if (fd) {
        Result<io::Accepted> accepted = io::Accepted();
        if (kind_ == SocketKind::kTcp) accepted = io::describe_accepted(fd.get(), options_);
        if (!accepted) continue;  // gone again
        accepted->stream = make_stream(loop_, std::move(fd));
        co_return accepted;
      }
      if (os_error == EAGAIN) {
        co_await descriptor_.ready(Descriptor::kRead);
        taken_ = 0;
      } else if (out_of_resources(os_error)) {
        notice_.write(os_error, loop_.now());
        StopSource pause;
        pause_ = &pause;
        auto slept = co_await sleep_for(loop_, io::kAcceptPause, pause.token());
        (void)slept;
        pause_ = nullptr;
      }
      // Anything else concerns the one connection that could not be taken (accept(2), "Error handling").
    }
  }

  void close() override {
    if (closed_) return;
    closed_ = true;
    ::shutdown(descriptor_.fd(), SHUT_RDWR);  // stops listening now, whoever else holds the socket
    queued_.clear();
    wake();
    descriptor_.close();
  }

  void yield_port() override { io::yield_port(descriptor_.fd()); }

  void finish() override {
    if (closed_ || finished_) return;
    finished_ = true;
    for (auto& fd : io::leave_port(descriptor_.fd(), linux::Blocking::kNo)) queued_.push_back(std::move(fd));
    wake();
  }

  SocketAddress address() const override { return address_; }
  Result<void> set_transparent() override { return linux::set_transparent(descriptor_.fd()); }

 private:
  void wake() {
    descriptor_.cancel();
    if (pause_) pause_->request_stop();
  }

  Loop& loop_;
  SocketKind kind_;
  io::ListenOptions options_;
  Descriptor descriptor_;
  SocketAddress address_;
  StopSource* pause_ = nullptr;
  io::PauseNotice notice_;
  std::size_t taken_ = 0;  // since others had a turn, those that were gone again included
  bool closed_ = false;
  bool finished_ = false;
  std::deque<Fd> queued_;  // once finished
};

}  // namespace

io::ListenerPtr make_listener(Loop& loop, Fd fd, SocketKind kind, const io::ListenOptions& options) {
  return std::make_unique<SocketListener>(loop, std::move(fd), kind, options);
}

Task<Result<io::StreamPtr>> finish_connect(Loop& loop, Fd fd, int connect_error, std::string name, StopToken stop) {
  if (connect_error == EINPROGRESS) {
    Descriptor waiting(loop, std::move(fd));
    StopCallback on_stop(stop, [&waiting] { waiting.cancel(); });
    if (!stop.stop_requested()) co_await waiting.ready(Descriptor::kWrite);
    if (stop.stop_requested()) co_return fail(ErrorCode::kCancelled, "connect " + name + ": cancelled");
    socklen_t size = sizeof connect_error;
    connect_error = 0;
    ::getsockopt(waiting.fd(), SOL_SOCKET, SO_ERROR, &connect_error, &size);
    fd = waiting.release();
  }
  if (connect_error != 0) co_return fail_errno(connect_error, "connect " + name);
  co_return make_stream(loop, std::move(fd));
}

}  // namespace weft::asio
