#include "lib/asio/network.h"

#include <sys/socket.h>

#include <cerrno>

#include "lib/asio/detail/socket_listener.h"
#include "lib/io/kernel_sockets.h"

namespace weft::asio {
namespace {

class TcpNetwork final : public io::Network {
 public:
  TcpNetwork(Loop& loop, io::KernelSockets sockets) : loop_(loop), sockets_(std::move(sockets)) {}

  Task<Result<io::StreamPtr>> connect(SocketAddress address, io::ConnectOptions options, StopToken stop) override {
    if (stop.stop_requested()) co_return fail(ErrorCode::kCancelled, "connect " + address.to_string() + ": cancelled");
    sockaddr_storage storage;
    const socklen_t size = address.to_sockaddr(storage);
    Result<Fd> fd;
    int os_error = 0;
    for (int taken = 0;; ++taken) {
      fd = sockets_.connecting(address, options, taken);
      if (!fd) co_return fail(std::move(fd).error());
      os_error = ::connect(fd->get(), reinterpret_cast<sockaddr*>(&storage), size) == 0 ? 0 : errno;
      if (!io::KernelSockets::try_next_port(os_error, options, taken)) break;
    }
    auto connected = co_await finish_connect(loop_, std::move(*fd), os_error, address.to_string(), stop);
    co_return connected;
  }

  Result<io::ListenerPtr> listen(SocketAddress address, const io::ListenOptions& options) override {
    WEFT_TRY(Fd fd, sockets_.listening(address, options));
    return make_listener(loop_, std::move(fd), SocketKind::kTcp, options);
  }

 private:
  Loop& loop_;
  io::KernelSockets sockets_;
};

}  // namespace

io::NetworkPtr Networks::own() { return std::make_unique<TcpNetwork>(loop_, io::KernelSockets(linux::Blocking::kNo)); }

Result<io::NetworkPtr> Networks::in_namespace(const Fd& netns) {
  WEFT_TRY(auto sockets, io::KernelSockets::in_namespace(netns, linux::Blocking::kNo));
  return std::make_unique<TcpNetwork>(loop_, std::move(sockets));
}

}  // namespace weft::asio
