// Durations and points in time as values; who tells the time is in clock.h.
#pragma once

#include <chrono>

namespace weft {

using Duration = std::chrono::nanoseconds;
// Never jumps; for timeouts and measuring.
using MonotonicTime = std::chrono::time_point<std::chrono::steady_clock, Duration>;
// May jump; for certificate validity and log lines.
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

}  // namespace weft
