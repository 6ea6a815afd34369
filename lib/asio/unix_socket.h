// Unix stream sockets as io::Listener and io::Stream: the CNI plugin's door at the node agent.
#pragma once

#include <string>

#include "lib/asio/loop.h"
#include "lib/io/network.h"

namespace weft::asio {

// Listens at `path`, replacing a socket file that was left behind, with permissions `mode`. Accepted connections carry no
// addresses. The file is removed when the listener ends, unless another listener replaced it. kInvalidArgument when the path
// is too long (107 bytes).
Result<io::ListenerPtr> listen_unix(Loop& loop, const std::string& path, unsigned mode);

// kNotFound without a socket file, kRefused when nobody listens, kUnavailable when the backlog is full.
Task<Result<io::StreamPtr>> connect_unix(Loop& loop, std::string path, StopToken stop);

}  // namespace weft::asio
