// Two connected in-memory streams, for tests and for protocols layered inside one process.
#pragma once

#include <utility>

#include "lib/async/loop.h"
#include "lib/io/stream.h"

namespace weft::io {

// What one side writes the other reads. At most `capacity` bytes wait unread; a writer beyond that pauses.
// abort(kReset) shows as kReset on the other side, abort(kCancel) and destruction before shutdown_write() as well.
std::pair<StreamPtr, StreamPtr> make_pipe(Loop& loop, std::size_t capacity = 256 * 1024);

}  // namespace weft::io
