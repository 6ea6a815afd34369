// A limit on how often something may happen: a burst, and a rate for ever after; progress may give tokens back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "lib/base/clock.h"

namespace weft {

class TokenBucket {
 public:
  TokenBucket(std::uint32_t burst, std::uint32_t per_second) : burst_(burst), per_second_(per_second), tokens_(burst) {}

  // False: not enough left. Time is looked at only then: taking from a full bucket costs a subtraction.
  bool take(std::uint32_t cost, MonotonicTime now) {
    if (!refilled_) refilled_ = now;
    if (tokens_ < cost) {
      const auto elapsed = std::min<Duration>(now - *refilled_, std::chrono::hours(1));
      const auto earned = std::chrono::duration<double>(elapsed).count() * per_second_;
      if (earned >= 1) {
        refund(static_cast<std::uint32_t>(earned));
        refilled_ = now;
      }
      if (tokens_ < cost) return false;
    }
    tokens_ -= cost;
    return true;
  }
  void refund(std::uint32_t tokens) { tokens_ = std::min(tokens_ + tokens, burst_); }

 private:
  std::uint32_t burst_;
  std::uint32_t per_second_;
  std::uint32_t tokens_;
  std::optional<MonotonicTime> refilled_;  // what was earned before is in; none: nothing was taken yet
};

}  // namespace weft
