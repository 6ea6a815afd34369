// What this kernel and container allow, found out by trying.
#pragma once

#include "lib/base/result.h"

namespace weft::linux {

// Sockets may carry `SO_MARK` (CAP_NET_ADMIN or CAP_NET_RAW): needed to pass by our own redirect rules.
Result<void> check_socket_mark();
// This thread may enter network namespaces (CAP_SYS_ADMIN): re-enters its own.
Result<void> check_enter_network_namespace();
// Sockets may be bound to foreign addresses (CAP_NET_ADMIN).
Result<void> check_transparent();
// The kernel has IPv6 and it is not disabled.
bool has_ipv6();

}  // namespace weft::linux
