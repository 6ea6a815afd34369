// Copies both ways between two streams until both directions ended, each by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "lib/async/loop.h"
#include "lib/async/stop.h"
#include "lib/io/stream.h"

namespace weft::io {

// Live byte counts, updated as bytes reach their destination. `add` members may be empty.
struct PumpCounters {
  std::uint64_t a_to_b = 0;
  std::uint64_t b_to_a = 0;
  std::function<void(std::uint64_t)> on_a_to_b;
  std::function<void(std::uint64_t)> on_b_to_a;
};

// What one read takes at most: bounds a direction's bytes in flight inside the proxy together with the layers' own marks.
inline constexpr std::size_t kPumpReadMax = 256 * 1024;

// Rules, per direction (RFC 9113 §8.5; RFC 9293 §3.6):
//   end of stream on one side        -> shutdown_write() on the other; the opposite direction goes on
//   reset of one side                -> abort(kReset) of the other, which ends both directions
//   destination no longer takes data -> the source's direction ends and its remaining bytes are not read; what the
//                                       destination had said by then is still delivered, then both are aborted (kReset)
//   any other error of one side      -> abort(kReset) of the other: what was cut never looks complete
//   stop requested                   -> abort(kReset) of both, kCancelled
// Returns ok when both directions ended in an orderly way or by a reset (an ordinary way for TCP to end; the counters
// and `*reset` tell), the first real error otherwise.
struct PumpResult {
  bool reset = false;  // one side was reset and the reset was passed on
  Result<void> outcome;
};
Task<PumpResult> pump(Loop& loop, Stream& a, Stream& b, PumpCounters& counters, StopToken stop);

}  // namespace weft::io
