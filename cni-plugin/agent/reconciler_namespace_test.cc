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

TEST_CASE("a pod is not given the namespace of one outside the mesh that got its address, whatever runs there") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.node.spaces[2].pod_uids = {"c"};  // pods of this node can be told by their processes
  f.pod("a", "10.0.0.1");
  f.pod("b", "10.0.0.1").wanted = false;
  f.pod("c", "10.0.0.3").wanted = false;
  SECTION("nothing yet") { f.node.spaces[1].empty = true; }
  SECTION("what the runtime sends to set it up") {}
  SECTION("its own process, and the state is not complete, so that it is left out") {
    f.node.spaces[1].pod_uids = {"b"};
    f.set.pods.resize(1);
    f.set.left_out = {"b", "c"};
    f.set.complete = false;
  }
  SECTION("its own process, and the state does not have it") {
    f.node.spaces[1].pod_uids = {"b"};
    f.set.pods.erase(f.set.pods.begin() + 1);
  }
  SECTION("its own process, that of a static pod") {
    f.node.spaces[1].pod_uids = {"0123"};
    f.node.spaces.erase(2);
    f.set.pods[1].static_uid = "0123";
  }
  f.update();
  f.world.run_for(1min);
  CHECK(f.node.log.empty());
  CHECK(f.ztunnel->proxy.log.empty());
  CHECK(f.gauge("weft_agent_unenforced_pods") == 1);
  f.node.spaces[1].pod_uids = {"b"};
  f.node.spaces[1].empty = false;
  f.node.spaces[3].addresses = {ip("10.0.0.1")};
  f.node.spaces[3].pod_uids = {"a"};
  CHECK(f.until([&] { return f.enrolled("a", 3); }));
  CHECK_FALSE(f.node.spaces[1].redirected);
}

TEST_CASE("after a restart a pod whose processes are yet to start has the namespace it had only if its rules are there") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.node.spaces[1].empty = true;
  const auto pod = f.pod("a", "10.0.0.1");
  CHECK(f.add(pod, 1) == "ok");
  f.agent.reset();
  f.ztunnel.reset();
  SECTION("they are") {
    f.start();
    CHECK(f.until([&] { return f.enrolled("a", 1); }));
  }
  SECTION("a new namespace has the old one's number") {
    f.node.spaces[1].redirected = false;
    f.start();
    f.world.run_for(1min);
    CHECK_FALSE(f.serving("a"));
    CHECK_FALSE(f.node.spaces[1].redirected);
  }
}

TEST_CASE("rules go from a namespace that turns out to be of a pod outside the mesh") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  const auto pod = f.pod("a", "10.0.0.1");
  f.pod("b", "10.0.0.1").wanted = false;
  SECTION("that was found by its address") {
    f.update();
    REQUIRE(f.until([&] { return f.enrolled("a", 1); }));
    f.node.spaces[1].pod_uids = {"b"};
    CHECK(f.until([&] { return !f.node.spaces[1].redirected; }));
    CHECK_FALSE(f.serving("a"));
    CHECK(f.node.log.back() == "remove 1");
    f.world.run_for(1min);
    CHECK(f.node.log.back() == "remove 1");
  }
  SECTION("but not from one that the runtime named: the other one is a guest") {
    f.set.pods[0].ips.clear();
    f.update();
    CHECK(f.add(pod, 1) == "ok");
    f.node.spaces[1].pod_uids = {"b"};
    REQUIRE(f.until([&] { return !f.serving("a"); }));
    f.world.run_for(1min);
    CHECK(f.node.spaces[1].redirected);
  }
  SECTION("nor from one of a pod in the mesh") {
    f.update();
    REQUIRE(f.until([&] { return f.enrolled("a", 1); }));
    f.set.pods[1].wanted = true;
    f.node.spaces[1].pod_uids = {"b"};
    f.update();
    REQUIRE(f.until([&] { return f.enrolled("b", 1) && !f.serving("a"); }));
    CHECK(std::ranges::count(f.node.log, "remove 1") == 0);
  }
}

TEST_CASE("processes seen before the pod's own were there do not cost it its namespace") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.node.spaces[1].pod_uids = {"multus"};
  f.node.spaces[2].addresses = {ip("10.0.0.2")};
  const auto pod = f.pod("a", "10.0.0.1");
  f.pod("multus", "").wanted = false;
  CHECK(f.add(pod, 1) == "ok");
  f.pod("c", "10.0.0.2");  // looked for now
  f.node.spaces[2].pod_uids = {"c"};
  f.update();
  REQUIRE(f.until([&] { return f.enrolled("c", 2); }));
  f.node.spaces[1].pod_uids = {"a"};
  f.world.run_for(1min);
  CHECK(f.enrolled("a", 1));
  CHECK(f.gauge("weft_agent_lost_namespaces_total") == 0);
}
