// A number that grows while a test waits for it. On one loop's thread.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <chrono>

#include "lib/async/event.h"
#include "lib/async/task.h"

namespace weft::testing {

class Count {
 public:
  // Until a wait fails its test: far beyond what a busy machine needs.
  static constexpr Duration kLimit = std::chrono::seconds(20);

  explicit Count(Loop& loop) : loop_(loop), grew_(loop) {}
  int value() const { return value_; }
  void clear() { value_ = 0; }
  void add() {
    ++value_;
    grew_.set();
  }
  // Waits until it is `wanted` or more.
  Task<void> reach(int wanted) {
    Deadline deadline(loop_, kLimit, {});
    while (value_ < wanted) {
      grew_.reset();
      auto grown = co_await grew_.wait(deadline.token());
      if (!grown) break;
    }
    CHECK(value_ >= wanted);
  }
  // Waits until it has not grown for so long.
  Task<void> quiet(Duration pause) {
    for (bool growing = true; growing;) {
      grew_.reset();
      Deadline deadline(loop_, pause, {});
      auto grown = co_await grew_.wait(deadline.token());
      growing = grown.has_value();
    }
  }

 private:
  Loop& loop_;
  int value_ = 0;
  Event grew_;
};

}  // namespace weft::testing
