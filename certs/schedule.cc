#include "certs/schedule.h"

#include <algorithm>

namespace weft::certs {

WallTime refresh_time(WallTime not_before, WallTime not_after) { return not_before + (not_after - not_before) / 2; }

Duration Backoff::next(double chance) {
  if (elapsed_ >= kJitteredFor) return kMax;
  const auto jittered = std::chrono::duration_cast<Duration>(base_ * (0.8 + 0.4 * chance));
  const Duration delay = std::min(jittered, kMax);
  elapsed_ += delay;
  base_ = std::min(base_ * 2, kMax);
  return delay;
}

}  // namespace weft::certs
