// Conntrack entries of a redirected pod. What acts on a namespace acts on that of the calling thread.
#pragma once

#include <string_view>
#include <vector>

#include "lib/base/ip.h"
#include "lib/base/result.h"

namespace weft::cni::redirect {

// Connections let go on because they were open before. A pod with more of them has the rest reset, as all would be without
// this; 16 384 take some 0.2 s and 5 MiB of kernel memory.
inline constexpr std::size_t kOpenConnectionsMax = 16 * 1024;

struct Connection {
  SocketAddress local, remote;
};

// The TCP connections in the text of /proc/net/tcp or tcp6 that are neither listening nor over; those that only begin, whose
// first packet the rules may still meet, are left out, and so is loopback, since nothing redirects it. Lines that are not
// understood are skipped.
std::vector<Connection> parse_open_connections(std::string_view proc_net_tcp);

// Has conntrack know every open connection as one that needs no decision, so that rules which come later leave it alone.
// What cannot be entered is logged: that connection will be reset.
void let_open_connections_be();

// Deletes the entries of connections that met our packet rules (kDecidedMark): after the rules are gone nothing follows
// those connections, and an entry left behind would decide for a later one with the same addresses and ports.
Result<void> forget_connections();

}  // namespace weft::cni::redirect
