// Clocks as interfaces, so that a test or the simulation moves time.
#pragma once

#include <string>

#include "lib/base/time_point.h"

namespace weft {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicTime monotonic() const = 0;
  virtual WallTime wall() const = 0;
};

// The kernel's clocks. Thread-safe.
class SystemClock final : public Clock {
 public:
  MonotonicTime monotonic() const override;
  WallTime wall() const override;
};

// "2026-01-31T09:30:00Z", seconds precision, UTC.
std::string format_rfc3339(WallTime time);

}  // namespace weft
