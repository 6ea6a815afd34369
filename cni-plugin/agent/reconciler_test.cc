// The agent's reconciler with the real handover on simulated packet sockets; namespaces are a table.
#include "cni-plugin/agent/reconciler.h"

#include <fcntl.h>

#include <catch2/catch_test_macros.hpp>

#include "lib/zds/client.h"
#include "tests/support/sim/files.h"
#include "tests/support/sim/packets.h"

using namespace weft;
using namespace weft::cni::agent;
using namespace std::chrono_literals;
namespace redirect = weft::cni::redirect;

namespace {

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

// The namespaces of a node: which there are, which have rules, what was done.
class Node final : public PodNetwork {
 public:
  struct Space {
    std::vector<IpAddress> addresses;
    bool redirected = false;
  };
  std::map<ino_t, Space> spaces;
  std::vector<std::string> log;
  bool broken = false;  // rules cannot be applied
  redirect::ProbedPods probed;
  bool probes_broken = false;
  int scans = 0;

  static NetnsPtr handle(ino_t inode) {
    return std::make_shared<const Netns>(
        Netns{Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)), {4, inode}, "/run/netns/" + std::to_string(inode)});
  }
  Task<Result<void>> redirect(NetnsPtr netns) override {
    log.push_back("apply " + std::to_string(netns->id.inode));
    if (broken) co_return fail(ErrorCode::kUnsupported, "no nf_tables");
    mark(netns, true);
    co_return Result<void>{};
  }
  Task<Result<void>> release(NetnsPtr netns) override {
    log.push_back("remove " + std::to_string(netns->id.inode));
    mark(netns, false);
    co_return Result<void>{};
  }
  Task<Result<bool>> is_redirected(NetnsPtr netns) override {
    const auto space = spaces.find(netns->id.inode);
    co_return space == spaces.end() || space->second.redirected;
  }
  // One that nothing but our descriptor keeps is not in the table.
  void mark(const NetnsPtr& netns, bool redirected) {
    if (auto space = spaces.find(netns->id.inode); space != spaces.end()) space->second.redirected = redirected;
  }
  Task<Result<NetnsPtr>> open(std::string path) override {
    co_return handle(static_cast<ino_t>(std::stoul(path.substr(path.rfind('/') + 1))));
  }
  Task<Result<void>> exempt_probes(redirect::ProbedPods pods) override {
    if (probes_broken) co_return fail(ErrorCode::kUnsupported, "no nat");
    probed = std::move(pods);
    co_return Result<void>{};
  }
  Task<Result<bool>> probes_are_exempt(redirect::ProbedPods pods) override { co_return probed == pods; }
  Task<Result<void>> exempt_no_probes() override {
    probed.clear();
    co_return Result<void>{};
  }
  Task<Result<NetnsScanPtr>> scan() override {
    ++scans;
    auto scan = std::make_shared<NetnsScan>();
    for (const auto& [inode, space] : spaces) {
      scan->found.push_back({{4, inode}, "/run/netns/" + std::to_string(inode), space.addresses, {}});
    }
    co_return scan;
  }
};

struct Proxy final : zds::PodEvents {
  void connected() override { serving_before = serving; }
  Task<Result<void>> add(zds::Pod pod, Fd, StopToken) override {
    log.push_back("add " + pod.uid);
    if (refuse) co_return fail(ErrorCode::kAddressInUse, "bind 15001");
    serving.insert(pod.uid);
    co_return Result<void>{};
  }
  Task<void> remove(std::string uid) override {
    log.push_back("remove " + uid);
    serving.erase(uid);
    co_return;
  }
  void forget(std::string) override {}
  Task<void> snapshot_done(std::set<std::string> named) override {
    std::erase_if(serving, [&](const std::string& uid) { return !named.contains(uid); });
    ready = true;
    co_return;
  }
  void disconnected() override { ready = false; }
  std::set<std::string> serving, serving_before;
  std::vector<std::string> log;
  bool ready = false;
  bool refuse = false;
};

struct Fixture {
  sim::World world{5};
  Loop& loop = world.make_loop("agent");
  Loop& proxy_loop = world.make_loop("ztunnel");
  std::shared_ptr<sim::SocketFiles> sockets = std::make_shared<sim::SocketFiles>();
  sim::SimPackets packets{world, loop, sockets};
  sim::SimPackets proxy_packets{world, proxy_loop, sockets};
  sim::MemoryFiles files{loop, std::make_shared<sim::FileTree>()};
  Node node;
  PodSet set{{}, true};

  // One life of an agent, and one of a proxy.
  struct Agent {
    explicit Agent(Fixture& f)
        : f(f),
          memory(f.files, "/run/enrolled.json"),
          reconciler(f.loop, f.packets, f.node, memory, metrics),
          scope(f.loop) {
      REQUIRE(memory.load());
      REQUIRE(reconciler.listen("/zds.sock"));
      reconciler.update(f.set);
      scope.spawn(reconciler.run(scope.token()));
    }
    ~Agent() {
      scope.request_stop();
      f.world.run(scope.join());
    }
    Fixture& f;
    Metrics metrics;
    Memory memory;
    Reconciler reconciler;
    Scope scope;
  };
  struct Ztunnel {
    explicit Ztunnel(Fixture& f) : f(f), client(f.proxy_loop, f.proxy_packets, proxy, "/zds.sock"), scope(f.proxy_loop) {
      scope.spawn(run(*this));
    }
    ~Ztunnel() {
      scope.request_stop();
      f.world.run(scope.join());
    }
    static Task<void> run(Ztunnel& self) {
      auto ended = co_await self.client.run(self.scope.token());
      CHECK(ended);
    }
    Fixture& f;
    Proxy proxy;
    zds::Client client;
    Scope scope;
  };
  std::unique_ptr<Agent> agent;
  std::unique_ptr<Ztunnel> ztunnel;

  ~Fixture() {
    ztunnel.reset();
    agent.reset();
  }
  void start() {
    agent = std::make_unique<Agent>(*this);
    ztunnel = std::make_unique<Ztunnel>(*this);
    REQUIRE(until([&] { return ztunnel->proxy.ready; }));
  }
  PodInfo& pod(const std::string& uid, const std::string& address) {
    PodInfo info{uid, uid, "shop", "front"};
    if (!address.empty()) info.ips = {ip(address)};
    info.running = info.wanted = true;
    set.pods.push_back(info);
    return set.pods.back();
  }
  void update() { agent->reconciler.update(set); }
  bool until(const std::function<bool()>& done) { return world.run_until(done, 200'000); }
  bool serving(const std::string& uid) { return ztunnel->proxy.serving.contains(uid); }
  bool enrolled(const std::string& uid, ino_t inode) { return serving(uid) && node.spaces[inode].redirected; }

  static Task<void> add_task(Fixture& self, PodInfo info, ino_t inode, Duration limit, std::string& out) {
    Deadline deadline(self.loop, limit, {});
    auto netns = Node::handle(inode);
    auto added = co_await self.agent->reconciler.add(std::move(info), std::move(netns), deadline.token());
    out = added ? "ok" : added.error().message();
  }
  std::string add(const PodInfo& info, ino_t inode, Duration limit = 4500ms) {
    std::string out;
    world.run(add_task(*this, info, inode, limit, out));
    return out;
  }
  double gauge(const std::string& line) {
    const auto text = agent->metrics.registry.text();
    const auto at = text.find("\n" + line + " ");
    REQUIRE(at != std::string::npos);
    return std::stod(text.substr(at + line.size() + 2));
  }
};

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
  CHECK(f.node.log == Lines{"apply 2"});

  f.set.pods[0].wanted = false;
  f.update();
  REQUIRE(f.until([&] { return f.agent->reconciler.pods().empty(); }));
  CHECK(f.node.log == Lines{"apply 2", "remove 2"});
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
  SECTION("the manifests cannot be read") {
    const auto pods = f.set;
    f.set = {{}, false};
    f.agent = std::make_unique<Fixture::Agent>(f);
    f.world.run_for(10s);
    CHECK(f.agent->memory.contains("a"));
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
