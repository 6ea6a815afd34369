#include "cni-plugin/agent/reconciler.h"

#include <catch2/catch_test_macros.hpp>

#include "cni-plugin/agent/test_reconciler.h"

using namespace weft;
using namespace weft::cni::agent;
using namespace std::chrono_literals;
namespace redirect = weft::cni::redirect;

namespace {

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("the plugin's pod is redirected, then served, then reported") {
  Fixture f;
  f.start();
  f.node.spaces[7] = {};
  auto& pod = f.pod("a", "");
  pod.running = false;
  f.update();
  CHECK(f.add(pod, 7) == "ok");
  CHECK(f.node.log == Lines{"apply 7"});
  CHECK(f.serving("a"));
  CHECK(f.agent->memory.contains("a"));
  CHECK(f.add(pod, 7) == "ok");
  CHECK(f.node.log == Lines{"apply 7"});
  CHECK(f.gauge("weft_agent_pods{state=\"enrolled\"}") == 1);
}

TEST_CASE("without a proxy a pod does not start") {
  Fixture f;
  f.agent = std::make_unique<Fixture::Agent>(f);
  f.node.spaces[7] = {};
  CHECK(f.add(f.pod("a", ""), 7) == "no ztunnel connection");
}

TEST_CASE("a pod does not start when its rules or its proxy fail, and is enrolled later") {
  Fixture f;
  f.start();
  f.node.spaces[7] = {};
  f.update();
  f.node.broken = true;
  const auto pod = f.pod("a", "");
  CHECK(f.add(pod, 7) == "no nf_tables");
  CHECK(f.ztunnel->proxy.log.empty());
  f.update();
  CHECK(f.gauge("weft_agent_unenforced_pods") == 1);
  f.node.broken = false;
  f.ztunnel->proxy.refuse = true;
  CHECK(f.add(pod, 7) == "ztunnel: failure to start proxy : bind 15001");
  f.ztunnel->proxy.refuse = false;
  CHECK(f.until([&] { return f.serving("a"); }));
  CHECK(f.gauge("weft_agent_unenforced_pods") == 0);
}

TEST_CASE("a pod whose name no proxy can be told does not start, says why, and goes; others are served") {
  Fixture f;
  f.start();
  f.node.spaces[7] = {};
  f.node.spaces[8] = {};
  auto pod = f.pod("a", "10.0.0.1");
  SECTION("its name") { pod.name = "caf\xE9"; }
  SECTION("its UID") { pod.uid = "caf\xE9"; }
  f.set.pods = {pod};
  f.update();
  CHECK(f.add(pod, 7) == "a name of the pod is no UTF-8");
  CHECK(f.node.spaces[7].redirected);
  CHECK(f.add(f.pod("b", "10.0.0.2"), 8) == "ok");
  f.ztunnel = std::make_unique<Fixture::Ztunnel>(f);
  REQUIRE(f.until([&] { return f.serving("b"); }));
  CHECK(f.agent->reconciler.pods().at(pod.uid)->error == "a name of the pod is no UTF-8");
  CHECK(f.let_go(pod.full_name(), 7) == "ok");
  f.set.pods.erase(f.set.pods.begin());
  f.update();
  CHECK(f.until([&] { return f.agent->reconciler.pods().size() == 1; }));
}

TEST_CASE("a label enrols a running pod, found by its address, and its removal releases it") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.node.spaces[2].addresses = {ip("10.0.0.2")};
  f.pod("a", "10.0.0.2").wanted = false;
  f.update();
  f.world.run_for(1min);
  CHECK(f.node.log.empty());

  f.set.pods[0].wanted = true;
  f.update();
  REQUIRE(f.until([&] { return f.enrolled("a", 2); }));
  CHECK(f.node.log == Lines{"prepare 2", "apply 2"});

  f.set.pods[0].wanted = false;
  f.update();
  REQUIRE(f.until([&] { return f.agent->reconciler.pods().empty(); }));
  CHECK(f.node.log == Lines{"prepare 2", "apply 2", "prepare 2", "remove 2"});
  CHECK(f.ztunnel->proxy.log == Lines{"add a", "remove a"});
  CHECK_FALSE(f.agent->memory.contains("a"));
}

TEST_CASE("a pod that is gone or has ended is revoked, its rules are left alone") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.node.spaces[2].addresses = {ip("10.0.0.2")};
  f.pod("a", "10.0.0.1");
  f.pod("b", "10.0.0.2");
  f.update();
  REQUIRE(f.until([&] { return f.enrolled("a", 1) && f.enrolled("b", 2); }));
  f.set.pods[0].finished = true;
  f.set.pods.pop_back();
  f.update();
  REQUIRE(f.until([&] { return f.agent->reconciler.pods().empty(); }));
  CHECK(f.ztunnel->proxy.serving.empty());
  CHECK(f.node.spaces[1].redirected);
  f.update();
  CHECK(f.agent->reconciler.pods().empty());
}

TEST_CASE("pods that are missing from an incomplete state are kept") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.pod("a", "10.0.0.1");
  f.update();
  REQUIRE(f.until([&] { return f.serving("a"); }));
  f.set = {{}, false};
  f.update();
  f.world.run_for(1min);
  CHECK(f.serving("a"));
}

TEST_CASE("rules that were taken away come back, and are counted") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.pod("a", "10.0.0.1");
  f.update();
  REQUIRE(f.until([&] { return f.enrolled("a", 1); }));
  f.node.spaces[1].redirected = false;
  f.world.run_for(Reconciler::kVerifyInterval + 1s);
  CHECK(f.node.spaces[1].redirected);
  CHECK(f.gauge("weft_agent_rule_repairs_total") == 1);
  f.node.spaces[1].redirected = false;
  f.node.broken = true;
  f.world.run_for(Reconciler::kVerifyInterval + 1s);
  CHECK(f.gauge("weft_agent_unenforced_pods") == 1);
  CHECK(f.serving("a"));
}

TEST_CASE("a namespace that goes away is revoked, and the pod's next one is taken") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.pod("a", "10.0.0.1");
  f.update();
  REQUIRE(f.until([&] { return f.enrolled("a", 1); }));
  f.node.spaces.erase(1);
  REQUIRE(f.until([&] { return !f.serving("a"); }));
  f.node.spaces[2].addresses = {ip("10.0.0.1")};
  CHECK(f.until([&] { return f.enrolled("a", 2); }));
}

TEST_CASE("a new proxy gets all pods, an older one takes over with all") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.node.spaces[2].addresses = {ip("10.0.0.2")};
  f.pod("a", "10.0.0.1");
  f.update();
  REQUIRE(f.until([&] { return f.serving("a"); }));
  auto newer = std::make_unique<Fixture::Ztunnel>(f);
  REQUIRE(f.until([&] { return newer->proxy.ready; }));
  CHECK(newer->proxy.serving.contains("a"));
  f.pod("b", "10.0.0.2");
  f.update();
  REQUIRE(f.until([&] { return newer->proxy.serving.contains("b"); }));
  CHECK_FALSE(f.serving("b"));
  newer.reset();
  CHECK(f.until([&] { return f.serving("b"); }));
}

TEST_CASE("a new agent finds its pods again and takes none from a proxy that serves it") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.node.spaces[2].addresses = {ip("10.0.0.2")};
  f.pod("a", "10.0.0.1");
  f.pod("b", "10.0.0.2");
  f.update();
  REQUIRE(f.until([&] { return f.enrolled("a", 1) && f.enrolled("b", 2); }));
  f.agent.reset();
  const auto log = f.node.log;
  SECTION("nothing changed") {
    f.agent = std::make_unique<Fixture::Agent>(f);
    REQUIRE(f.until([&] { return f.gauge("weft_agent_pods{state=\"enrolled\"}") == 2; }));
    CHECK(f.node.log == log);
    CHECK(std::count(f.ztunnel->proxy.log.begin(), f.ztunnel->proxy.log.end(), "remove a") == 0);
  }
  SECTION("a namespace cannot be found for a while") {
    auto hidden = f.node.spaces.extract(1);
    f.agent = std::make_unique<Fixture::Agent>(f);
    REQUIRE(f.until([&] { return f.ztunnel->proxy.ready && f.agent->reconciler.newest_proxy() != 0; }));
    f.world.run_for(1min);
    CHECK(f.serving("a"));
    f.node.spaces.insert(std::move(hidden));
    CHECK(f.until([&] { return f.gauge("weft_agent_pods{state=\"enrolled\"}") == 2; }));
  }
  SECTION("a label was removed meanwhile") {
    f.set.pods[0].wanted = false;
    f.agent = std::make_unique<Fixture::Agent>(f);
    REQUIRE(f.until([&] { return !f.node.spaces[1].redirected; }));
    REQUIRE(f.until([&] { return !f.serving("a") && f.serving("b"); }));
    CHECK(f.until([&] { return !f.agent->memory.contains("a"); }));
  }
  SECTION("its namespace is not described any more") {
    f.set.pods[0].wanted = false;
    f.set.pods[0].undecided = true;
    f.agent = std::make_unique<Fixture::Agent>(f);
    REQUIRE(f.until([&] { return f.gauge("weft_agent_pods{state=\"enrolled\"}") == 2; }));
    CHECK(f.node.log == log);
    f.set.pods[0].undecided = false;
    f.update();
    CHECK(f.until([&] { return !f.serving("a") && !f.node.spaces[1].redirected; }));
  }
  SECTION("the manifests cannot be read") {
    const auto pods = f.set;
    f.set = {{f.set.pods[1]}, false};
    f.agent = std::make_unique<Fixture::Agent>(f);
    REQUIRE(f.until([&] { return f.ztunnel->proxy.ready && f.agent->reconciler.newest_proxy() != 0; }));
    f.world.run_for(10s);
    CHECK(f.agent->memory.contains("a"));
    CHECK(f.serving("a"));
    f.set = pods;
    SECTION("and then they can") {
      f.update();
      REQUIRE(f.until([&] { return f.gauge("weft_agent_pods{state=\"enrolled\"}") == 2; }));
      CHECK(std::count(f.ztunnel->proxy.log.begin(), f.ztunnel->proxy.log.end(), "remove a") == 0);
      CHECK(f.node.log == log);
    }
    SECTION("and then the pod is gone") {
      f.set.pods.erase(f.set.pods.begin());
      f.update();
      CHECK(f.until([&] { return !f.serving("a") && !f.agent->memory.contains("a"); }));
      CHECK(f.enrolled("b", 2));
    }
    SECTION("and then its label is gone") {
      f.set.pods[0].wanted = false;
      f.update();
      CHECK(f.until([&] { return !f.serving("a") && !f.node.spaces[1].redirected; }));
    }
  }
  SECTION("a pod went meanwhile") {
    f.set.pods.erase(f.set.pods.begin());
    f.agent = std::make_unique<Fixture::Agent>(f);
    CHECK_FALSE(f.agent->memory.contains("a"));
    CHECK(f.until([&] { return !f.serving("a"); }));
  }
}

TEST_CASE("who waits for a pod is not kept waiting for ever") {
  Fixture f;
  f.start();
  f.node.spaces[7] = {};
  const auto pod = f.pod("a", "");
  CHECK(f.add(pod, 7, 500ns).find("not enrolled in time") != std::string::npos);
  CHECK(f.until([&] { return f.serving("a"); }));
}

TEST_CASE("many pods share one look at the node's namespaces") {
  Fixture f;
  f.start();
  for (int i = 1; i <= 50; ++i) {
    const auto address = "10.0.0." + std::to_string(i);
    f.node.spaces[static_cast<ino_t>(i)].addresses = {ip(address)};
    f.pod("p" + std::to_string(i), address);
  }
  f.update();
  REQUIRE(f.until([&] { return f.ztunnel->proxy.serving.size() == 50; }));
  CHECK(f.node.scans <= 2);
}

TEST_CASE("probes of a pod are exempt once a proxy serves it, until it leaves") {
  Fixture f;
  f.start();
  f.node.spaces[7] = {};
  f.update();
  auto pod = f.pod("a", "10.0.0.1");
  f.ztunnel->proxy.refuse = true;
  CHECK(f.add(pod, 7) != "ok");
  CHECK(f.node.probed.empty());
  f.ztunnel->proxy.refuse = false;
  CHECK(f.add(pod, 7) == "ok");
  CHECK(f.node.probed == redirect::ProbedPods{{ip("10.0.0.1"), "a"}});
  f.set.pods[0].ips = {};
  f.update();
  f.world.run_for(1s);
  CHECK(f.node.probed.size() == 1);
  f.set.pods[0].ips = {ip("10.0.0.1"), ip("fd00::1")};
  f.update();
  REQUIRE(f.until([&] { return f.node.probed.size() == 2; }));
  CHECK(f.gauge("weft_agent_probed_addresses") == 2);
  f.set.pods.clear();
  f.update();
  REQUIRE(f.until([&] { return f.agent->reconciler.pods().empty(); }));
  CHECK(f.node.probed.empty());
}

TEST_CASE("a pod whose probes cannot be exempt does not start") {
  Fixture f;
  f.node.probes_broken = true;
  f.start();
  f.node.spaces[7] = {};
  const auto pod = f.pod("a", "10.0.0.1");
  CHECK(f.add(pod, 7) == "no nat");
  f.node.probes_broken = false;
  f.update();
  CHECK(f.add(pod, 7) == "ok");
}

TEST_CASE("a new agent replaces the exemptions of the one before by those of the pods there are, without a proxy") {
  Fixture f;
  f.start();
  f.node.spaces[1].addresses = {ip("10.0.0.1")};
  f.node.spaces[2].addresses = {ip("10.0.0.2")};
  f.pod("a", "10.0.0.1");
  f.pod("b", "10.0.0.2");
  f.update();
  REQUIRE(f.until([&] { return f.node.probed.size() == 2; }));
  f.ztunnel.reset();
  f.agent.reset();
  f.set.pods.pop_back();
  CHECK(f.node.probed.size() == 2);
  f.agent = std::make_unique<Fixture::Agent>(f);
  REQUIRE(f.until([&] { return f.node.probed == redirect::ProbedPods{{ip("10.0.0.1"), "a"}}; }));
  f.set.pods[0].wanted = false;
  f.update();
  REQUIRE(f.until([&] { return f.agent->reconciler.pods().empty(); }));
  CHECK(f.node.probed.empty());
}
