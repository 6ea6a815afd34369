// When a certificate is renewed and when a failed request is repeated. Pure: time and chance arrive as arguments.
#pragma once

#include "lib/base/time_point.h"

namespace weft::certs {

// Half of the validity; may already be past.
WallTime refresh_time(WallTime not_before, WallTime not_after);

// Growing delays between attempts of one identity: 1 s, doubled each time, ±20 %, at most 150 s; constant 150 s once the
// attempts have gone on for 15 minutes. As ztunnel does it, so that a mesh without its authority loads it no more.
class Backoff {
 public:
  static constexpr Duration kFirst = std::chrono::seconds(1);
  static constexpr Duration kMax = std::chrono::seconds(150);
  static constexpr Duration kJitteredFor = std::chrono::minutes(15);

  // The delay before the next attempt; `chance` is uniform in [0, 1).
  Duration next(double chance);
  void reset() { *this = Backoff(); }

 private:
  Duration base_ = kFirst;
  Duration elapsed_{};
};

}  // namespace weft::certs
