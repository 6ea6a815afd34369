#include "certs/schedule.h"

#include <catch2/catch_test_macros.hpp>

using namespace weft;
using namespace weft::certs;
using namespace std::chrono_literals;

TEST_CASE("a certificate is renewed at half its validity") {
  const WallTime start{1'800'000'000s};
  CHECK(refresh_time(start, start + 24h) == start + 12h);
  CHECK(refresh_time(start, start) == start);
}

TEST_CASE("delays double with jitter, stay below their limit and become constant") {
  Backoff middle;
  for (const auto expected : {1s, 2s, 4s, 8s, 16s, 32s, 64s, 128s, 150s, 150s}) {
    const Duration delay = middle.next(0.5);
    CHECK(delay > expected - 1ms);
    CHECK(delay < expected + 1ms);
  }
  for (const double chance : {0.0, 0.999}) {
    Backoff backoff;
    Duration elapsed{};
    for (int i = 0; i < 30; ++i) {
      const Duration delay = backoff.next(chance);
      if (i == 0) CHECK((delay >= 800ms && delay <= 1200ms));
      if (elapsed >= 15min) CHECK(delay == 150s);
      CHECK(delay <= 150s);
      elapsed += delay;
    }
    backoff.reset();
    CHECK(backoff.next(0.5) <= 1001ms);
  }
}
