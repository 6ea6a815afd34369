#include "lib/asio/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include "lib/asio/detail/socket_listener.h"

namespace weft::asio {
namespace {

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(ErrorCode::kInvalidArgument, "socket path must have 1 to 107 bytes: " + path);
  }
  path.copy(address.sun_path, path.size());
  return address;
}

Result<Fd> make_socket() {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno(errno, "socket");
  return fd;
}

// Removes the socket file with the listener.
class UnixListener final : public io::Listener {
 public:
  UnixListener(io::ListenerPtr inner, std::string path) : inner_(std::move(inner)), path_(std::move(path)) {}
  ~UnixListener() override { close(); }
  Task<Result<io::Accepted>> accept(StopToken stop) override { return inner_->accept(std::move(stop)); }
  void close() override {
    if (!path_.empty()) ::unlink(path_.c_str());
    path_.clear();
    inner_->close();
  }
  SocketAddress address() const override { return {}; }
  Result<void> set_transparent() override { return fail(ErrorCode::kUnsupported, "a Unix socket has no IP options"); }

 private:
  io::ListenerPtr inner_;
  std::string path_;
};

}  // namespace

Result<io::ListenerPtr> listen_unix(Loop& loop, const std::string& path, unsigned mode) {
  WEFT_TRY(const sockaddr_un address, address_of(path));
  WEFT_TRY(Fd fd, make_socket());
  struct stat existing;
  if (::lstat(path.c_str(), &existing) == 0 && S_ISSOCK(existing.st_mode)) ::unlink(path.c_str());
  // The mode of the descriptor becomes that of the file, so that it is never open to more than it should be.
  ::fchmod(fd.get(), mode);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno, "bind " + path);
  }
  if (::chmod(path.c_str(), mode) != 0) return fail_errno(errno, "chmod " + path);
  if (::listen(fd.get(), 128) != 0) return fail_errno(errno, "listen " + path);
  return std::make_unique<UnixListener>(make_listener(loop, std::move(fd), SocketKind::kUnix, {}), path);
}

Task<Result<io::StreamPtr>> connect_unix(Loop& loop, std::string path, StopToken stop) {
  auto address = address_of(path);
  if (!address) co_return fail(std::move(address).error());
  auto fd = make_socket();
  if (!fd) co_return fail(std::move(fd).error());
  // Never EINPROGRESS: a Unix connection is made at once, or the backlog is full (EAGAIN).
  const int os_error = ::connect(fd->get(), reinterpret_cast<sockaddr*>(&*address), sizeof *address) == 0 ? 0 : errno;
  auto connected = co_await finish_connect(loop, std::move(*fd), os_error, path, stop);
  co_return connected;
}

}  // namespace weft::asio
