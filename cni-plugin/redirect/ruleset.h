// The packet rules of a redirected pod as nftables text. Pure.
//
// Three inet tables with istio-cni's names, so that either node agent replaces or removes what the other one left:
// istio-ambient-nat decides where a new connection goes, istio-ambient-mangle brings replies home, istio-ambient-raw
// (with DNS capture only) keeps the proxy's own DNS apart from the application's in conntrack.
//
// How the marks work: the proxy's sockets carry packet mark 0x539 and pass untouched. When it delivers to the
// application with the caller's address, the looped packet passes prerouting with that mark and the connection is
// marked 0x111; the application's replies get that mark back in the output chain, and the ip rule for it
// (policy_route.h) routes them to `lo`, to the proxy, instead of out of the pod.
//
// NAT looks at the first packet that conntrack sees of a connection. For connections older than the rules that is one
// from their middle, and redirecting it would reset them (istio-cni's rules do). Hence the sets of connections that
// were open when the rules came: their packets are let through, unless it is a SYN, which starts a new connection. In
// the meantime, between "conntrack counts" and "rules are there", tracking_text() makes conntrack see every connection
// that begins.
//
// What was decided here is remembered in conntrack by bit 0x1000 of the connection mark, so that it can be forgotten
// when the pod leaves the mesh: an entry that outlives its connection would decide for a later one with the same ports.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cni-plugin/redirect/redirect.h"
#include "lib/base/ip.h"

namespace weft::cni::redirect {

inline constexpr std::uint32_t kReplyMark = 0x111;  // of connections the proxy opened inside the pod
inline constexpr std::uint32_t kMarkMask = 0xfff;
inline constexpr std::uint32_t kDecidedMark = 0x1000;  // of connections that met these rules

// Connections let through because they were open before. A pod with more of them has the rest reset, as all would be
// without this; 16 384 make 2 MiB of text and of kernel memory.
inline constexpr std::size_t kOpenConnectionsMax = 16 * 1024;

struct Connection {
  SocketAddress local, remote;
};

// The TCP connections in the text of /proc/net/tcp or tcp6 that are neither listening nor over; loopback is left out,
// since nothing redirects it. Lines that are not understood are skipped.
std::vector<Connection> parse_open_connections(std::string_view proc_net_tcp);

// One transaction that replaces all our tables. `ipv6` needs a kernel with IPv6.
std::string install_text(const Options& options, const std::vector<Connection>& open);
// One transaction after which conntrack sees connections, and nothing is redirected.
std::string tracking_text();
// One transaction that removes our tables, if there are any.
std::string remove_text();

// The part of `nft list ruleset` that lists our tables, sorted by name; empty when there are none.
std::string our_tables(std::string_view listing);

}  // namespace weft::cni::redirect
