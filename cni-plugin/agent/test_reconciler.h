// The agent's reconciler with the real handover on simulated packet sockets; namespaces are a table. For this folder's
// tests.
#pragma once

#include <fcntl.h>

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cni-plugin/agent/reconciler.h"
#include "lib/zds/client.h"
#include "tests/support/sim/files.h"
#include "tests/support/sim/packets.h"

namespace weft::cni::agent {

using namespace std::chrono_literals;

inline IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

// The namespaces of a node: which there are, which have rules, what was done.
class Node final : public PodNetwork {
 public:
  struct Space {
    std::vector<IpAddress> addresses;
    bool redirected = false;
    std::vector<MarkUser> mark_users;
    bool foreign = false;            // rules of another program redirect it
    std::set<std::string> pod_uids;  // whose processes are in it
    bool empty = false;              // nobody's are
  };
  std::map<ino_t, Space> spaces;
  bool marks_broken = false;     // sockets cannot be looked at
  bool hides_processes = false;  // as a /proc that is not the node's does
  std::vector<std::string> log;
  bool broken = false;      // rules cannot be applied
  bool unreadable = false;  // whether there are any cannot be told
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
  Task<Result<void>> prepare(NetnsPtr netns) override {
    log.push_back("prepare " + std::to_string(netns->id.inode));
    mark(netns, false);
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
  Task<Result<std::vector<MarkUser>>> find_mark_users(NetnsPtr netns, PodProcesses pod) override {
    if (marks_broken) co_return fail(ErrorCode::kInvalidArgument, "no such condition");
    CHECK(pod.netns == netns->id);
    const auto space = spaces.find(netns->id.inode);
    co_return space == spaces.end() ? std::vector<MarkUser>{} : space->second.mark_users;
  }
  Task<Result<bool>> has_rules(NetnsPtr netns) override {
    if (unreadable) co_return fail(ErrorCode::kTimeout, "nft is stuck");
    const auto space = spaces.find(netns->id.inode);
    co_return space != spaces.end() && (space->second.redirected || space->second.foreign);
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
      scan->found.push_back({{4, inode}, "/run/netns/" + std::to_string(inode), space.addresses, space.pod_uids});
      if (hides_processes || space.empty) continue;
      scan->processes.push_back({static_cast<pid_t>(inode), {4, inode}, ""});
      scan->pod_uids.insert(space.pod_uids.begin(), space.pod_uids.end());
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
  std::shared_ptr<sim::FileTree> tree = std::make_shared<sim::FileTree>();
  sim::MemoryFiles files{loop, tree};
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
  static Task<void> let_go_task(Fixture& self, std::string name, ino_t inode, Duration limit, std::string& out) {
    Deadline deadline(self.loop, limit, {});
    auto done = co_await self.agent->reconciler.let_go(std::move(name), NetnsId{4, inode}, deadline.token());
    out = done ? "ok" : done.error().message();
  }
  std::string let_go(const std::string& name, ino_t inode, Duration limit = 1s) {
    std::string out;
    world.run(let_go_task(*this, name, inode, limit, out));
    return out;
  }
  double gauge(const std::string& line) {
    const auto text = agent->metrics.registry.text();
    const auto at = text.find("\n" + line + " ");
    REQUIRE(at != std::string::npos);
    return std::stod(text.substr(at + line.size() + 2));
  }
};

}  // namespace weft::cni::agent
