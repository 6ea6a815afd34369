#include "lib/uring/network.h"

#include <sys/socket.h>

#include <cerrno>
#include <memory>

#include "lib/io/kernel_sockets.h"
#include "lib/uring/listener.h"
#include "lib/uring/socket.h"

namespace weft::uring {
namespace {

// connect(2) in the kernel; lives in the caller's frame.
struct Connect final : Operation {
  Connect(Loop& owner, int socket, const SocketAddress& address)
      : loop(owner), fd(socket), size(address.to_sockaddr(storage)) {}
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    waiting = handle;
    io_uring_prep_connect(loop.prepare(*this), fd, reinterpret_cast<sockaddr*>(&storage), size);
  }
  int await_resume() const { return result; }
  void complete(int outcome, unsigned) override {
    result = outcome;
    std::exchange(waiting, nullptr).resume();
  }

  Loop& loop;
  int fd;
  sockaddr_storage storage;
  socklen_t size;
  std::coroutine_handle<> waiting;
  int result = 0;
};

class TcpNetwork final : public io::Network {
 public:
  TcpNetwork(Loop& loop, io::KernelSockets sockets)
      : loop_(loop), sockets_(std::make_shared<io::KernelSockets>(std::move(sockets))) {}

  Task<Result<io::StreamPtr>> connect(SocketAddress address, io::ConnectOptions options, StopToken stop) override {
    if (stop.stop_requested()) co_return fail(ErrorCode::kCancelled, "connect " + address.to_string() + ": cancelled");
    Loop& loop = loop_;  // the network may be gone when the kernel answers
    const auto sockets = sockets_;
    for (int taken = 0;; ++taken) {
      auto fd = sockets->connecting(address, options, taken);
      if (!fd) co_return fail(std::move(fd).error());
      Connect attempt(loop, fd->get(), address);
      StopCallback on_stop(stop, [&attempt] {
        if (attempt.waiting) attempt.loop.cancel(attempt);
      });
      const int result = co_await attempt;
      if (result >= 0) co_return make_stream(loop, std::move(*fd));
      loop.close_descriptor(fd->release());
      if (!io::KernelSockets::try_next_port(-result, options, taken))
        co_return fail_errno(-result, "connect " + address.to_string());
    }
  }

  Result<io::ListenerPtr> listen(SocketAddress address, const io::ListenOptions& options) override {
    WEFT_TRY(Fd fd, sockets_->listening(address, options));
    return make_listener(loop_, std::move(fd), options);
  }

 private:
  Loop& loop_;
  const std::shared_ptr<io::KernelSockets> sockets_;
};

}  // namespace

io::NetworkPtr Networks::own() { return std::make_unique<TcpNetwork>(loop_, io::KernelSockets(linux::Blocking::kYes)); }

Result<io::NetworkPtr> Networks::in_namespace(const Fd& netns) {
  WEFT_TRY(auto sockets, io::KernelSockets::in_namespace(netns, linux::Blocking::kYes));
  return std::make_unique<TcpNetwork>(loop_, std::move(sockets));
}

}  // namespace weft::uring
