#include "lib/linux/socket_options.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

namespace weft::linux {
namespace {

// linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h: both are 80.
constexpr int kSoOriginalDst = 80;

Result<void> set(int fd, int level, int option, int value, std::string_view name) {
  if (::setsockopt(fd, level, option, &value, sizeof value) == 0) return {};
  return fail_errno(errno, name);
}

int seconds_up(std::chrono::nanoseconds duration) {
  return static_cast<int>(std::chrono::ceil<std::chrono::seconds>(duration).count());
}

int family_of(int fd) {
  int domain = AF_INET;
  socklen_t size = sizeof domain;
  ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
  return domain;
}

}  // namespace

Result<Fd> make_tcp_socket(bool ipv6, Blocking blocking) {
  const int type = SOCK_STREAM | SOCK_CLOEXEC | (blocking == Blocking::kNo ? SOCK_NONBLOCK : 0);
  Fd fd(::socket(ipv6 ? AF_INET6 : AF_INET, type, IPPROTO_TCP));
  if (!fd) return fail_errno(errno, "socket");
  WEFT_TRY_VOID(set_nodelay(fd.get()));
  return fd;
}

Result<void> set_mark(int fd, std::uint32_t mark) {
  if (mark == 0) return {};
  return set(fd, SOL_SOCKET, SO_MARK, static_cast<int>(mark), "SO_MARK");
}

Result<void> set_nodelay(int fd) { return set(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"); }
Result<void> set_reuse_address(int fd) { return set(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"); }
Result<void> set_reuse_port(int fd) { return set(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"); }

Result<void> prefer_newer_socket(int fd) {
  // The group's sockets are numbered by age. A number that does not exist means: choose as without a program.
  sock_filter second[] = {BPF_STMT(BPF_RET | BPF_K, 1)};
  const sock_fprog program{.len = 1, .filter = second};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) == 0) return {};
  return fail_errno(errno, "SO_ATTACH_REUSEPORT_CBPF");
}

void share_with_newer_socket(int fd) {
  const int unused = 0;
  (void)::setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &unused, sizeof unused);  // Linux 5.3
}

Result<void> set_dual_stack(int fd) { return set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0, "IPV6_V6ONLY"); }

Result<void> set_keepalive(int fd, std::chrono::nanoseconds time, std::chrono::nanoseconds interval, int retries) {
  WEFT_TRY_VOID(set(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE"));
  WEFT_TRY_VOID(set(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds_up(time), "TCP_KEEPIDLE"));
  WEFT_TRY_VOID(set(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds_up(interval), "TCP_KEEPINTVL"));
  return set(fd, IPPROTO_TCP, TCP_KEEPCNT, retries, "TCP_KEEPCNT");
}

Result<void> set_user_timeout(int fd, std::chrono::nanoseconds limit) {
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
  return set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(ms), "TCP_USER_TIMEOUT");
}

Result<void> set_transparent(int fd) {
  if (family_of(fd) == AF_INET6) WEFT_TRY_VOID(set(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT"));
  return set(fd, IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT");
}

Result<void> set_freebind(int fd) {
  if (family_of(fd) == AF_INET6) return set(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1, "IPV6_FREEBIND");
  return set(fd, IPPROTO_IP, IP_FREEBIND, 1, "IP_FREEBIND");
}

Result<void> set_bind_address_no_port(int fd) {
  return set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT");
}

Result<void> set_congestion_control(int fd, std::string_view name) {
  const std::string text(name);
  if (::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, text.data(), static_cast<socklen_t>(text.size())) == 0) return {};
  return fail_errno(errno, "TCP_CONGESTION " + text);
}

void set_reset_on_close(int fd) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void reset_connection(int fd) {
  // So that even where the disconnect is refused (a blocked caller) the last close resets.
  set_reset_on_close(fd);
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  ::connect(fd, &none, sizeof none);
}

bool is_disconnected(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_state == TCP_CLOSE;
}

Result<void> bind_spoofed(int fd, const SocketAddress& source) {
  WEFT_TRY_VOID(set_transparent(fd));
  WEFT_TRY_VOID(set_freebind(fd));
  WEFT_TRY_VOID(source.port() == 0 ? set_bind_address_no_port(fd) : set_reuse_address(fd));
  sockaddr_storage storage;
  const socklen_t size = source.to_sockaddr(storage);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&storage), size) == 0) return {};
  return fail_errno(errno, "bind " + source.to_string());
}

Result<SocketAddress> local_address(int fd) {
  sockaddr_storage storage;
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return fail_errno(errno, "getsockname");
  return SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), size);
}

Result<SocketAddress> peer_address(int fd) {
  sockaddr_storage storage;
  socklen_t size = sizeof storage;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return fail_errno(errno, "getpeername");
  return SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), size);
}

Result<SocketAddress> original_destination(int fd) {
  for (const int level : {IPPROTO_IP, IPPROTO_IPV6}) {
    sockaddr_storage storage;
    socklen_t size = sizeof storage;
    if (::getsockopt(fd, level, kSoOriginalDst, &storage, &size) != 0) continue;
    auto address = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage), size);
    if (address) return address;
  }
  return local_address(fd);
}

}  // namespace weft::linux
