// One request through two node proxies, stopped and drained at every point of its life.
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <string>

#include "tests/support/sim/stop_everywhere.h"
#include "ztunnel/test_mesh.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;

namespace {

struct OneRequest {
  OneRequest(std::string pod_, DrainMode mode_) : pod(std::move(pod_)), mode(mode_) {
    mesh.begin_ask(*mesh.pod_a, "hello", seen);
  }
  sim::World& world() { return mesh.world; }
  bool over() const { return seen.done; }
  void stop() { stopping.spawn(mesh.stop_later(pod, mode, pod_stopped)); }
  bool stopped() const { return seen.done && pod_stopped; }
  void check() {
    if (seen.error) {
      CHECK(mode == DrainMode::kImmediate);  // all of the reply may have come, but not its end
      CHECK(std::string("hello").starts_with(seen.reply));
    } else {
      CHECK(seen.reply == "hello");  // an orderly end is never short
    }
    mesh.world.run(stopping.join());
  }

  const std::string pod;
  const DrainMode mode;
  Seen seen;
  bool pod_stopped = false;
  MeshWorld mesh;
  Scope stopping{pod == "front" ? mesh.a.loop : mesh.b.loop};
};

}  // namespace

TEST_CASE("a pod that goes at any point of a request ends everything of it, and nobody takes a part for the whole") {
  for (const char* pod : {"front", "cart"}) {
    const auto points = sim::stop_everywhere<OneRequest>(1s, std::string(pod), DrainMode::kImmediate);
    std::printf("%s stopped at %zu points of a request\n", pod, points);
    CHECK(points > 50);
  }
}

TEST_CASE("a drain that begins at any point of a request lets it come to its end") {
  for (const char* pod : {"front", "cart"}) {
    const auto points = sim::stop_everywhere<OneRequest>(MeshWorld::make_settings().termination_deadline, std::string(pod),
                                                         DrainMode::kGraceful);
    std::printf("%s drained at %zu points of a request\n", pod, points);
    CHECK(points > 50);
  }
}
