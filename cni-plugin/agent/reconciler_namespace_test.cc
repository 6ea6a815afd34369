#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "cni-plugin/agent/reconciler.h"
#include "cni-plugin/agent/test_reconciler.h"

using namespace weft;
using namespace weft::cni::agent;
using namespace std::chrono_literals;

namespace {

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("a namespace that a pod has is not given to another one that lists its address, until it is free") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  const auto owner = f.pod("b", "10.0.0.1");
  f.update();
  REQUIRE(f.until([&] { return f.enrolled("b", 1); }));
  f.pod("a", "10.0.0.1");
  f.update();
  f.world.run_for(1min);
  CHECK(f.ztunnel->proxy.log == Lines{"add b"});
  CHECK(f.agent->reconciler.pods().at("a")->error.find("is that of pod shop/b") != std::string::npos);
  CHECK(f.gauge("weft_agent_unenforced_pods") == 1);
  f.set.pods.erase(f.set.pods.begin());
  f.update();
  CHECK(f.until([&] { return f.enrolled("a", 1) && !f.serving("b"); }));
}

TEST_CASE("the plugin's word takes a namespace from a pod that was found there by an address it no longer has") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.pod("a", "10.0.0.1");
  f.update();
  REQUIRE(f.until([&] { return f.enrolled("a", 1); }));
  const auto owner = f.pod("b", "10.0.0.1");
  SECTION("and a proxy heard of the first") {
    CHECK(f.add(owner, 1) == "ok");
    CHECK(f.ztunnel->proxy.log == Lines{"add a", "remove a", "add b"});
  }
  SECTION("and both come again") {
    CHECK(f.add(owner, 1) == "ok");
    CHECK(f.add(f.set.pods[0], 1) == "ok");
    CHECK(f.ztunnel->proxy.log == Lines{"add a", "remove a", "add b", "remove b", "add a"});
    CHECK(f.add(owner, 1) == "ok");
  }
  SECTION("and the proxy went away meanwhile") {
    f.ztunnel.reset();
    CHECK(f.add(owner, 1) == "no ztunnel connection");
    f.ztunnel = std::make_unique<Fixture::Ztunnel>(f);
    REQUIRE(f.until([&] { return f.serving("b"); }));
  }
  f.world.run_for(1min);
  CHECK_FALSE(f.serving("a"));
  CHECK(f.enrolled("b", 1));
  // The next agent knows it too.
  f.agent.reset();
  f.agent = std::make_unique<Fixture::Agent>(f);
  f.world.run_for(1min);
  CHECK_FALSE(f.serving("a"));
  CHECK(f.enrolled("b", 1));
  CHECK(f.gauge("weft_agent_pods{state=\"enrolled\"}") == 1);
}

TEST_CASE("after a restart a pod finds the namespace it had, though another one lists its address") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.pod("b", "10.0.0.1");
  f.update();
  REQUIRE(f.until([&] { return f.enrolled("b", 1); }));
  f.agent.reset();
  f.pod("a", "10.0.0.1");
  std::swap(f.set.pods[0], f.set.pods[1]);
  f.agent = std::make_unique<Fixture::Agent>(f);
  f.world.run_for(1min);
  CHECK(f.enrolled("b", 1));
  CHECK_FALSE(f.serving("a"));
}

TEST_CASE("a pod that has not its own namespace yet is not given that of another pod's processes") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.node.spaces[1].pod_uids = {"b"};
  f.pod("a", "10.0.0.1");
  SECTION("of one outside the mesh") {
    f.pod("b", "10.0.0.1").wanted = false;
    f.update();
    f.world.run_for(1min);
    CHECK(f.node.log.empty());
  }
  SECTION("of one that becomes known later") {
    f.update();
    REQUIRE(f.until([&] { return f.enrolled("a", 1); }));
    f.pod("b", "10.0.0.1");
    f.update();
    REQUIRE(f.until([&] { return f.serving("b"); }));
  }
  CHECK_FALSE(f.serving("a"));
}
