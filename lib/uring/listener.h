// Accepting on the ring: a few requests in the kernel, one connection each.
//
// One that delivers connection after connection (multishot) would be cheaper, but takes all that wait at once: a burst at
// one pod's port then has the descriptors of the whole process before anybody has counted them.
#pragma once

#include "lib/base/fd.h"
#include "lib/io/kernel_sockets.h"
#include "lib/uring/loop.h"

namespace weft::uring {

// Connections accepted, or being accepted, and not yet taken by accept(): what one turn of the loop can take from a port.
// Nobody's share of descriptors has these yet.
inline constexpr std::size_t kAcceptedMax = io::kAcceptedPerTurn;

// `fd` listens and is blocking. Without descriptors accepting pauses until one is closed on this loop, 100 ms at the most.
io::ListenerPtr make_listener(Loop& loop, Fd fd, const io::ListenOptions& options);

}  // namespace weft::uring
