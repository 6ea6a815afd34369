// Accepting on a listening socket, TCP or Unix.
#pragma once

#include "lib/asio/loop.h"
#include "lib/io/network.h"

namespace weft::asio {

enum class SocketKind { kTcp, kUnix };

// `fd` listens and is non-blocking. Unix connections carry no addresses.
io::ListenerPtr make_listener(Loop& loop, Fd fd, SocketKind kind, const io::ListenOptions& options);

// Waits until connect(2), begun on the non-blocking `fd`, has ended.
Task<Result<io::StreamPtr>> finish_connect(Loop& loop, Fd fd, int connect_error, std::string name, StopToken stop);

}  // namespace weft::asio
