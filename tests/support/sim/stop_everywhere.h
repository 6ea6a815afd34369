// Stops a scenario at every point at which one of its coroutines can be suspended.
//
// Between two steps of a simulated world every coroutine stands at an await, and no await is passed without a step. So the
// scenario is run from the same seed again and again, and told to stop after 0, 1, 2 ... steps, until one run is over before
// its turn to be stopped. After each, everything must have ended: in the time that stopping may take, with no coroutine
// frame left once the scenario is gone. What else must hold is the scenario's to check.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <cstddef>

#include "lib/async/frame_allocator.h"
#include "tests/support/sim/world.h"

namespace weft::sim {

// A Scenario is made anew for each run from `arguments` and has
//   World& world();
//   bool over();     it has come to its end by itself
//   void stop();     asks it to end; called once
//   bool stopped();  it has ended, be it by itself
//   void check();    what must hold then
// Returns the number of points.
template <typename Scenario, typename... Arguments>
std::size_t stop_everywhere(Duration stopping_max, const Arguments&... arguments) {
  for (std::size_t point = 0;; ++point) {
    INFO("stopped after " << point << " steps");
    const auto frames = frames_alive();
    bool over = false;
    {
      Scenario scenario(arguments...);
      World& world = scenario.world();
      for (std::size_t step = 0; step < point && !over; ++step) {
        REQUIRE(world.step());
        over = scenario.over();
      }
      const auto asked = world.clock().monotonic();
      scenario.stop();
      REQUIRE(world.run_until([&] { return scenario.stopped(); }, 1'000'000));
      REQUIRE(world.clock().monotonic() - asked <= stopping_max);
      scenario.check();
    }
    REQUIRE(frames_alive() == frames);
    if (over) return point;
  }
}

}  // namespace weft::sim
