// Socket options as functions that return errors, and TCP sockets set up the way the proxies need them.
//
// Thread: any. Every call is one or two plain system calls that never block. Option names follow tcp(7), ip(7), ipv6(7).
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "lib/base/fd.h"
#include "lib/base/ip.h"
#include "lib/base/result.h"

namespace weft::linux {

enum class Blocking {
  kYes,
  kNo
};  // io_uring wants blocking sockets (a non-blocking one fails with EAGAIN), epoll the others

// A close-on-exec TCP socket with TCP_NODELAY.
Result<Fd> make_tcp_socket(bool ipv6, Blocking blocking);

// SO_MARK; kPermission without CAP_NET_ADMIN or CAP_NET_RAW. 0 does nothing.
Result<void> set_mark(int fd, std::uint32_t mark);
Result<void> set_nodelay(int fd);
Result<void> set_reuse_address(int fd);
Result<void> set_reuse_port(int fd);
// `fd` listens with SO_REUSEPORT. When one more socket listens on its port, connections that begin from now on go to that
// one; half-open and queued ones stay. Alone it goes on as before. With three sockets the kernel's order, which this relies
// on, is no longer that of their age: connections may then go to either (net/core/sock_reuseport.c, reuseport_select_sock).
Result<void> prefer_newer_socket(int fd);
// Takes that back from the port's sockets: what was asked for stays with them when the one that asked leaves. Nothing to do
// where it was not asked for.
void share_with_newer_socket(int fd);
// IPV6_V6ONLY off: an unspecified IPv6 listener serves both families.
Result<void> set_dual_stack(int fd);
// Probes after `time` of silence, every `interval`, `retries` times; rounded up to whole seconds.
Result<void> set_keepalive(int fd, std::chrono::nanoseconds time, std::chrono::nanoseconds interval, int retries);
// How long sent data may stay unacknowledged (RFC 5482).
Result<void> set_user_timeout(int fd, std::chrono::nanoseconds limit);
// IP_TRANSPARENT (and IPV6_TRANSPARENT on IPv6 sockets): foreign addresses may be bound and TPROXY may deliver.
Result<void> set_transparent(int fd);
// IP_FREEBIND / IPV6_FREEBIND: addresses that are not local may be bound.
Result<void> set_freebind(int fd);
// IP_BIND_ADDRESS_NO_PORT: the source port is chosen at connect, where it only has to be unique per destination.
Result<void> set_bind_address_no_port(int fd);
// TCP_CONGESTION, for example "cubic".
Result<void> set_congestion_control(int fd, std::string_view name);
// The next close() sends RST instead of FIN (SO_LINGER with zero time).
void set_reset_on_close(int fd);
// Sends RST now, while others still hold the socket: connect(AF_UNSPEC). Waiting calls end with ECONNRESET.
void reset_connection(int fd);

// The connection is over in both directions, whatever happened to the error that said so. A reset leaves a socket like this;
// so do two orderly ends.
bool is_disconnected(int fd);

// Binds `fd` to `source`, a foreign address. Port 0: the kernel chooses one at connect. Any other may be in use for other
// destinations; kAddressInUse when somebody listens on it.
Result<void> bind_spoofed(int fd, const SocketAddress& source);

Result<SocketAddress> local_address(int fd);
Result<SocketAddress> peer_address(int fd);
// The destination before netfilter's REDIRECT (SO_ORIGINAL_DST, then IP6T_SO_ORIGINAL_DST); the local address when the
// connection was not redirected (TPROXY, or none).
Result<SocketAddress> original_destination(int fd);

}  // namespace weft::linux
