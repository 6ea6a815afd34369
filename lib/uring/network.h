// TCP on the ring: io::Network in the process's own network namespace or in a pod's.
#pragma once

#include "lib/io/network.h"
#include "lib/uring/loop.h"

namespace weft::uring {

class Networks final : public io::NetworkFactory {
 public:
  explicit Networks(Loop& loop) : loop_(loop) {}
  io::NetworkPtr own() override;
  Result<io::NetworkPtr> in_namespace(const Fd& netns) override;

 private:
  Loop& loop_;
};

}  // namespace weft::uring
