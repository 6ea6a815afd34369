// TCP on the Asio loop: io::Network in the process's own network namespace or in a pod's.
#pragma once

#include "lib/asio/loop.h"
#include "lib/io/network.h"

namespace weft::asio {

class Networks final : public io::NetworkFactory {
 public:
  explicit Networks(Loop& loop) : loop_(loop) {}
  io::NetworkPtr own() override;
  Result<io::NetworkPtr> in_namespace(const Fd& netns) override;

 private:
  Loop& loop_;
};

}  // namespace weft::asio
