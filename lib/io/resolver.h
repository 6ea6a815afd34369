// Host names to addresses, for the few control-plane servers that are configured by name.
//
// Control thread only. Implemented by lib/asio; tests bring a table.
#pragma once

#include <string>
#include <vector>

#include "lib/async/stop.h"
#include "lib/async/task.h"
#include "lib/base/ip.h"
#include "lib/base/result.h"

namespace weft::io {

class Resolver {
 public:
  virtual ~Resolver() = default;
  // The addresses of `host`, at least one, in the order they should be tried. kNotFound when the name does not exist,
  // kUnavailable when no name server answers, kCancelled.
  virtual Task<Result<std::vector<IpAddress>>> resolve(std::string host, StopToken stop) = 0;
};

}  // namespace weft::io
