// Process signals as awaitable events on the control loop.
#pragma once

#include <initializer_list>
#include <memory>

#include "lib/asio/loop.h"

namespace weft::asio {

// From construction on the given signals no longer have their default effect. One instance per process and signal.
class Signals {
 public:
  Signals(Loop& loop, std::initializer_list<int> signals);
  ~Signals();
  // The next signal's number; those that arrive between calls are kept. kCancelled when stopped. One call at a time.
  Task<Result<int>> next(StopToken stop);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::asio
