#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "cni-plugin/agent/reconciler.h"
#include "cni-plugin/agent/test_reconciler.h"

using namespace weft;
using namespace weft::cni::agent;
using namespace std::chrono_literals;

namespace {

using Lines = std::vector<std::string>;

bool opened(const Fixture& f) { return std::count(f.node.log.begin(), f.node.log.end(), "prepare 1") > 0; }

}  // namespace

TEST_CASE("a running pod that is new to the agent but redirected already is never opened") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  SECTION("its object was gone for a while") {
    const auto pod = f.pod("a", "10.0.0.1");
    REQUIRE(f.add(pod, 1) == "ok");
    f.set.pods.clear();
    f.update();
    REQUIRE(f.until([&] { return f.agent->reconciler.pods().empty(); }));
    REQUIRE(f.node.spaces[1].redirected);
    f.node.log.clear();
    f.set.pods.push_back(pod);
  }
  SECTION("another agent redirected it, and nothing remembers it") {
    f.node.spaces[1].redirected = true;
    f.pod("a", "10.0.0.1");
  }
  SECTION("its rules are another program's") {
    f.node.spaces[1].foreign = true;
    f.pod("a", "10.0.0.1");
  }
  SECTION("whether it has rules cannot be told") {
    f.node.unreadable = true;
    f.pod("a", "10.0.0.1");
  }
  f.update();
  REQUIRE(f.until([&] { return f.enrolled("a", 1); }));
  CHECK_FALSE(opened(f));
}

TEST_CASE("a running pod that enters is remembered before it has any rules") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.pod("a", "10.0.0.1");
  f.update();
  REQUIRE(f.until([&] { return opened(f); }));
  CHECK(f.agent->memory.contains("a"));
  CHECK_FALSE(f.node.spaces[1].redirected);
  REQUIRE(f.until([&] { return f.enrolled("a", 1); }));
}

TEST_CASE("a pod that cannot be remembered gets no rules, at no attempt, until it can") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.pod("a", "10.0.0.1");
  f.tree->full = true;
  f.update();
  f.world.run_for(1min);
  CHECK(f.node.log.empty());
  CHECK(f.gauge("weft_agent_unenforced_pods") == 1);
  f.tree->full = false;
  CHECK(f.until([&] { return f.enrolled("a", 1); }));
}
