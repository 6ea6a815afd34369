#include "lib/linux/features.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>

#include "lib/linux/socket_options.h"

namespace weft::linux {

Result<void> check_socket_mark() {
  WEFT_TRY(const Fd fd, make_tcp_socket(false, Blocking::kYes));
  return set_mark(fd.get(), 1337);
}

Result<void> check_enter_network_namespace() {
  const Fd own(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!own) return fail_errno(errno, "open /proc/thread-self/ns/net");
  if (::setns(own.get(), CLONE_NEWNET) != 0) return fail_errno(errno, "setns to the own network namespace");
  return {};
}

Result<void> check_transparent() {
  WEFT_TRY(const Fd fd, make_tcp_socket(false, Blocking::kYes));
  return set_transparent(fd.get());
}

bool has_ipv6() {
  auto fd = make_tcp_socket(true, Blocking::kYes);
  if (!fd) return false;
  sockaddr_storage storage;
  const auto size = SocketAddress(IpAddress::loopback(true), 0).to_sockaddr(storage);
  return ::bind(fd->get(), reinterpret_cast<sockaddr*>(&storage), size) == 0;
}

}  // namespace weft::linux
