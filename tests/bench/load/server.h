// The server of the load generator: every mode of protocol.h on one port, one thread.
#pragma once

#include <netinet/in.h>

namespace weft::load {

// Prints "listening PORT" and serves until the process is ended. A connection that misbehaves is closed.
[[noreturn]] void serve(const sockaddr_in& address);

}  // namespace weft::load
