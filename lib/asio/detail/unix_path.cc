#include "lib/asio/detail/unix_path.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

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

Result<Fd> make_socket(int type) {
  Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno(errno, "socket");
  return fd;
}

}  // namespace

void SocketFile::remove() {
  if (std::exchange(removed_, true)) return;
  struct stat now;
  if (::lstat(path_.c_str(), &now) != 0 || now.st_dev != device_ || now.st_ino != inode_) return;
  ::unlink(path_.c_str());
}

Result<ListeningSocket> listen_at(const std::string& path, int type, unsigned mode) {
  WEFT_TRY(const sockaddr_un address, address_of(path));
  WEFT_TRY(Fd fd, make_socket(type));
  struct stat existing;
  if (::lstat(path.c_str(), &existing) == 0 && S_ISSOCK(existing.st_mode)) ::unlink(path.c_str());
  // The mode of the descriptor becomes that of the file, so that it is never open to more than it should be.
  ::fchmod(fd.get(), mode);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno, "bind " + path);
  }
  struct stat made;
  if (::lstat(path.c_str(), &made) != 0) return fail_errno(errno, "stat " + path);
  if (::chmod(path.c_str(), mode) != 0) return fail_errno(errno, "chmod " + path);
  if (::listen(fd.get(), 128) != 0) return fail_errno(errno, "listen " + path);
  return ListeningSocket{std::move(fd), SocketFile(path, made.st_dev, made.st_ino)};
}

Result<Fd> connect_to(const std::string& path, int type) {
  WEFT_TRY(const sockaddr_un address, address_of(path));
  WEFT_TRY(Fd fd, make_socket(type));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(errno, "connect " + path);
  }
  return fd;
}

}  // namespace weft::asio
