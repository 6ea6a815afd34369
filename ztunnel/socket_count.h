// Counts an accepted socket as open while it lives.
#pragma once

#include "lib/telemetry/metrics.h"

namespace weft::ztunnel {

class SocketCount {
 public:
  explicit SocketCount(telemetry::Gauge& gauge) : gauge_(gauge) { gauge_.add(1); }
  SocketCount(const SocketCount&) = delete;
  SocketCount& operator=(const SocketCount&) = delete;
  ~SocketCount() { gauge_.add(-1); }

 private:
  telemetry::Gauge& gauge_;
};

}  // namespace weft::ztunnel
