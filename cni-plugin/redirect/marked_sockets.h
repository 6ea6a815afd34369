// TCP sockets in a pod that packet rules let pass because they carry the proxy's mark: the proxy's own, and whoever else's.
//
// The kernel picks them out (sock_diag(7), INET_DIAG_BC_MARK_COND, Linux 4.12), so that a pod's other sockets cost nothing
// to speak of.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cni-plugin/redirect/netlink.h"
#include "cni-plugin/redirect/rules.h"
#include "lib/base/ip.h"

namespace weft::cni::redirect {

struct MarkedSocket {
  std::uint32_t inode = 0;  // as in "socket:[123]" below /proc/PID/fd
  SocketAddress remote;
  friend bool operator==(const MarkedSocket&, const MarkedSocket&) = default;
};

// What the kernel may say of one namespace and family: some 250,000 sockets, twice as many as a node's proxy opens.
inline constexpr std::size_t kMarkedBytesMax = 32 * 1024 * 1024;

// The sockets of `netns` with kProxyMark that some process has open and that are connected, or about to be, to an address
// other than loopback. None where accepted sockets take over the mark of the packet that began them
// (net.ipv4.tcp_fwmark_accept): there the proxy's deliveries mark the application's sockets, and a mark tells nothing.
//
// Blocks for half a millisecond and some 2 us a marked socket; needs CAP_SYS_ADMIN and CAP_NET_ADMIN. kLimit beyond
// kMarkedBytesMax, kNotFound or kInvalidArgument when the kernel lacks tcp_diag or the condition.
Result<std::vector<MarkedSocket>> marked_sockets(const Fd& netns);

// The pure parts. A message of the answer that is cut short, has no owner or no such mark is no marked socket.
NetlinkRequest marked_sockets_request(AddressFamily family);
std::optional<MarkedSocket> read_marked_socket(std::span<const char> payload);

}  // namespace weft::cni::redirect
