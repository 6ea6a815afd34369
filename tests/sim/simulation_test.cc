#include <catch2/catch_test_macros.hpp>

#include "lib/base/log.h"
#include "tests/sim/scenario.h"

using namespace weft::simulation;

TEST_CASE("the same seed is the same run, and another seed is another one") {
  REQUIRE(weft::log::set_filter("off"));
  const auto first = run_seed(3), second = run_seed(4), again = run_seed(3);
  CHECK(first.failure == "");
  CHECK(second.failure == "");
  CHECK(first.calls > 0);
  CHECK(first.complete > 0);
  CHECK(first.trace == again.trace);
  CHECK(first.steps == again.steps);
  CHECK(first.trace != second.trace);
}
