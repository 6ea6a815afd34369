// A connected TCP socket on the ring as an io::Stream.
//
// Receiving: one request in the kernel that delivers buffer after buffer of the shared pool until kReceiveCredit bytes came,
// at most one buffer more. It is renewed only from read(), so a reader that stays away stops the peer after that much:
// credit, not cancelling, is the brake (a busy multishot receive cannot be cancelled reliably). Sending: one gathered
// sendmsg in flight, complete or failed when write() returns.
//
// Teardown: the kernel's side of a socket is a SocketState, counted by the stream and by the receive request. The stream's
// destructor shuts the socket down and lets go; the descriptor is closed when the request has come home.
#pragma once

#include "lib/base/fd.h"
#include "lib/io/stream.h"
#include "lib/uring/loop.h"

namespace weft::uring {

inline constexpr std::size_t kReceiveCredit = 256 * 1024;

// `fd` is connected and blocking (io_uring does the waiting).
io::StreamPtr make_stream(Loop& loop, Fd fd);

}  // namespace weft::uring
