// How far the other end of a TCP connection has taken what was sent to it.
//
// Thread: any. One system call that never blocks.
#pragma once

#include <cstdint>

namespace weft::linux {

struct SendProgress {
  std::uint64_t acknowledged = 0;  // bytes, since the beginning (tcpi_bytes_acked, RFC 4898; since Linux 4.1)
  std::uint32_t unsent = 0;        // in the socket, but the peer's window has no room (tcpi_notsent_bytes; since 4.6)
};

// Zeros for what is no TCP socket.
SendProgress send_progress(int fd);

}  // namespace weft::linux
