// A connected stream socket, TCP or Unix, as an io::Stream.
#pragma once

#include "lib/asio/loop.h"
#include "lib/base/fd.h"
#include "lib/io/stream.h"

namespace weft::asio {

// `fd` is connected and non-blocking. Reads go straight into blocks of 64 KiB, up to four at a time, taken only when bytes
// may be there; small amounts are copied out of them, so an idle or trickling connection holds next to nothing.
io::StreamPtr make_stream(Loop& loop, Fd fd);

}  // namespace weft::asio
