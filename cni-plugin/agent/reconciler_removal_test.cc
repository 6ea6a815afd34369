#include <catch2/catch_test_macros.hpp>

#include "cni-plugin/agent/reconciler.h"
#include "cni-plugin/agent/test_reconciler.h"

using namespace weft;
using namespace weft::cni::agent;
using namespace std::chrono_literals;

TEST_CASE("a pod whose network the runtime takes away is revoked at once, and stays out while others list it") {
  Fixture f;
  f.start();
  f.node.spaces[7] = {};
  auto& pod = f.pod("a", "10.0.0.5");
  f.update();
  CHECK(f.add(pod, 7) == "ok");
  CHECK(f.let_go("shop/a", 8) == "ok");  // an older sandbox of it
  CHECK(f.let_go("shop/b", 7) == "ok");
  CHECK(f.serving("a"));
  CHECK(f.let_go("shop/a", 7) == "ok");
  CHECK(!f.serving("a"));
  CHECK(f.let_go("shop/a", 7) == "ok");
  // The state still has it, and changes; its namespace is still there too.
  f.node.spaces[7].addresses = {ip("10.0.0.5")};
  pod.running = false;
  f.update();
  f.world.run_for(1min);
  CHECK(!f.serving("a"));
  CHECK(f.agent->reconciler.pods().size() == 1);
  // The same pod with a new sandbox.
  f.node.spaces[9] = {};
  CHECK(f.add(pod, 9) == "ok");
  CHECK(f.enrolled("a", 9));
  CHECK(f.let_go("shop/a", 9) == "ok");
  f.set.pods.clear();
  f.update();
  CHECK(f.until([&] { return f.agent->reconciler.pods().empty(); }));
  CHECK(!f.agent->memory.contains("a"));
}

TEST_CASE("a node that cannot change its own rules still revokes a pod that is gone, and lets go of its namespace") {
  Fixture f;
  f.start();
  f.node.spaces[7].addresses = {ip("10.0.0.5")};
  f.pod("a", "10.0.0.5");
  f.update();
  REQUIRE(f.until([&] { return f.enrolled("a", 7) && !f.node.probed.empty(); }));
  f.node.probes_broken = true;
  f.set.pods.clear();
  f.update();
  CHECK(f.until([&] { return !f.serving("a"); }));
  f.world.run_for(1min);
  REQUIRE(f.agent->reconciler.pods().size() == 1);
  CHECK_FALSE(f.agent->reconciler.pods().at("a")->netns);
  f.node.probes_broken = false;
  CHECK(f.until([&] { return f.agent->reconciler.pods().empty() && f.node.probed.empty(); }));
}

TEST_CASE("a pod without a proxy is let go at once, and one whose proxy does not answer in time is told of") {
  Fixture f;
  f.start();
  f.node.spaces[7] = {};
  auto& pod = f.pod("a", "10.0.0.5");
  f.update();
  CHECK(f.add(pod, 7) == "ok");
  CHECK(f.let_go("shop/a", 7, 0ms) == "no answer from its proxies in time");
  CHECK(f.until([&] { return !f.serving("a"); }));
  f.ztunnel.reset();
  f.node.spaces[8] = {};
  auto& other = f.pod("b", "10.0.0.6");
  f.update();
  CHECK(f.add(other, 8, 100ms) != "ok");
  CHECK(f.let_go("shop/b", 8) == "ok");
}
