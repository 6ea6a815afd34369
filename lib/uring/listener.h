// Accepting on the ring: one request in the kernel that delivers connection after connection.
#pragma once

#include "lib/base/fd.h"
#include "lib/io/network.h"
#include "lib/uring/loop.h"

namespace weft::uring {

// Connections accepted and not yet taken by accept(); beyond it the rest wait in the kernel's backlog.
inline constexpr std::size_t kAcceptedMax = 256;

// `fd` listens and is blocking. Without descriptors accepting pauses until one is closed on this loop, 100 ms at the most.
io::ListenerPtr make_listener(Loop& loop, Fd fd, const io::ListenOptions& options);

}  // namespace weft::uring
