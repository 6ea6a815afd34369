// What the node agent says, carried out on workers of the simulated world.
#include "ztunnel/pods.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "ztunnel/test_mesh.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;

namespace {

struct PodsWorld : MeshWorld {
  explicit PodsWorld(Settings with = make_settings(), std::size_t count = 1)
      : MeshWorld(1, std::move(with)), workers(count) {
    pods.connected();
    host = &add_pod_host("new", {ip("10.0.0.4")});
    describe("new", {ip("10.0.0.4")}, "node-a");
    publish();
    serve(*host, 8080);
  }
  ~PodsWorld() { world.run(pods.drain()); }

  static Task<void> keep(Task<Result<void>> task, Result<void>& out) {
    auto outcome = co_await std::move(task);
    out = std::move(outcome);
  }
  Result<void> add(sim::Host& where, const std::string& uid = "u1") {
    Result<void> added = fail(ErrorCode::kInternal, "never ended");
    zds::Pod pod{uid, "new", "shop", "new"};
    world.run(keep(pods.add(std::move(pod), netns(where), StopToken()), added));
    return added;
  }
  // Always the same file for one host, as the agent's descriptors are.
  Fd netns(sim::Host& where) {
    auto& kept = descriptors[&where];
    if (!kept) kept = internet.namespace_of(where);
    return kept.duplicate();
  }
  void remove(const std::string& uid = "u1") {
    world.run(pods.remove(uid));
    settle();
  }
  Task<void> removed(std::uint64_t& ended_by_then) {
    co_await pods.remove("u1");
    ended_by_then = ended();
  }
  void snapshot(std::set<std::string> named) {
    world.run(pods.snapshot_done(std::move(named)));
    settle();
  }
  void settle() { world.run_for(10ms); }

  static Task<void> read(Pods& pods, std::vector<PodState>& out) {
    auto states = co_await pods.describe(StopToken());
    if (states) out = std::move(*states);
  }
  // "uid Up", "uid Pending", ...
  std::vector<std::string> states() {
    std::vector<PodState> found;
    world.run(read(pods, found));
    std::vector<std::string> text;
    for (const auto& state : found) text.push_back(state.pod.uid + (state.up ? " Up" : " Pending"));
    return text;
  }
  std::uint64_t started() { return count("workload_manager_proxies_started_total"); }
  std::uint64_t ended() { return count("workload_manager_proxies_stopped_total"); }
  // Whether plain text reaches the application, which it does through the proxy alone.
  bool serves(sim::Host& pod) {
    const bool first = &pod == host;
    const auto seen = ask(*stranger, "x", {ip(first ? "10.0.0.4" : "10.0.0.5"), 8080});
    return !seen.error && seen.reply == "x";
  }
  bool ready() const { return readiness.ready(); }

  const std::size_t workers;
  admin::Readiness readiness{world.clock(), world.clock().monotonic()};
  // The second one does nothing before `held_up` is run.
  ManualLoop held_up;
  Worker second{held_up, *a.networks, settings, a.identities, families, limits};
  Pods pods{a.control, workers == 2 ? std::vector{&a.worker, &second} : std::vector{&a.worker}, readiness, registry};
  sim::Host* host = nullptr;
  std::map<sim::Host*, Fd> descriptors;
};

using States = std::vector<std::string>;

}  // namespace

TEST_CASE("an added pod is served once, however often it is added") {
  PodsWorld node;
  REQUIRE(node.add(*node.host));
  REQUIRE(node.add(*node.host));
  CHECK(node.started() == 1);
  CHECK(node.count("workload_manager_active_proxy_count") == 1);
  CHECK(node.serves(*node.host));
  CHECK(node.states() == States{"u1 Up"});
  CHECK_FALSE(node.ready());  // the agent has not told of all its pods yet
  node.snapshot({"u1"});
  CHECK(node.ready());
}

TEST_CASE("a pod that cannot be served is pending, told as refused, and tried again until it can") {
  PodsWorld node;
  auto blocker = node.network_of(*node.host).listen({IpAddress::any(true), kInboundPlaintextPort}, {}).value();
  const auto refused = node.add(*node.host);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message().starts_with("failed to bind to address "));
  CHECK(node.states() == States{"u1 Pending"});
  CHECK(node.count("workload_manager_pending_proxy_count") == 1);
  node.snapshot({"u1"});
  CHECK_FALSE(node.ready());
  node.world.run_for(11s);
  CHECK(node.started() == 0);
  blocker.reset();
  node.world.run_for(5s);
  CHECK(node.started() == 1);
  CHECK(node.states() == States{"u1 Up"});
  CHECK(node.ready());
  CHECK(node.serves(*node.host));
  node.world.run_for(11s);
  CHECK(node.started() == 1);
}

TEST_CASE("a pending pod that is added again is served once") {
  PodsWorld node;
  auto blocker = node.network_of(*node.host).listen({IpAddress::any(true), kHbonePort}, {}).value();
  CHECK_FALSE(node.add(*node.host));
  blocker.reset();
  CHECK(node.add(*node.host));
  node.world.run_for(11s);
  CHECK(node.started() == 1);
  CHECK(node.count("workload_manager_pending_proxy_count") == 0);
}

TEST_CASE("a pending pod that is deleted is tried no more, and holds nothing up") {
  PodsWorld node;
  auto blocker = node.network_of(*node.host).listen({IpAddress::any(true), kOutboundPort}, {}).value();
  CHECK_FALSE(node.add(*node.host));
  node.snapshot({"u1"});
  CHECK_FALSE(node.ready());
  node.remove();
  blocker.reset();
  node.world.run_for(11s);
  CHECK(node.started() == 0);
  CHECK(node.ready());
  CHECK(node.states().empty());
}

TEST_CASE("a pod deleted before the agent has told of all its pods is not pending any more") {
  PodsWorld node;
  auto blocker = node.network_of(*node.host).listen({IpAddress::any(true), kOutboundPort}, {}).value();
  CHECK_FALSE(node.add(*node.host));
  node.pods.forget("u1");
  blocker.reset();
  node.snapshot({});
  CHECK(node.ready());
  node.world.run_for(11s);
  CHECK(node.started() == 0);
}

TEST_CASE("a pod is told to be gone when its connections have ended, not before") {
  Seen staying;
  StopSource stop;
  PodsWorld node;
  REQUIRE(node.add(*node.host));
  node.ask_and_stay(*node.stranger, "a", staying, stop.token(), at("10.0.0.4:8080"));
  REQUIRE(node.world.run_until([&] { return staying.reply == "a"; }));
  std::uint64_t ended_by_then = 0;
  node.world.run(node.removed(ended_by_then));
  CHECK(ended_by_then == 1);
  REQUIRE(node.world.run_until([&] { return staying.done; }));
}

TEST_CASE(
    "a removal waits no longer than it says for what waits for another worker, and is done behind that, before an add") {
  std::vector<PodState> described;
  Result<void> added = fail(ErrorCode::kInternal, "never ended");
  PodsWorld node(PodsWorld::make_settings(), 2);
  Scope meanwhile(node.a.control);
  REQUIRE(node.add(*node.host));
  meanwhile.spawn(PodsWorld::read(node.pods, described));
  node.settle();
  const auto begun = node.world.clock().monotonic();
  node.world.run(node.pods.remove("u1"));
  CHECK(node.world.clock().monotonic() - begun == Pods::kRemovalMax);
  CHECK(node.ended() == 0);
  meanwhile.spawn(PodsWorld::keep(node.pods.add({"u1", "new", "shop", "new"}, node.netns(*node.host), StopToken()), added));
  node.settle();
  CHECK(node.started() == 1);
  node.held_up.run_until_idle();
  node.settle();
  node.world.run(meanwhile.join());
  CHECK(described.size() == 1);
  CHECK(added);
  CHECK(node.started() == 2);
  CHECK(node.ended() == 1);
  CHECK(node.serves(*node.host));
}

TEST_CASE("add, delete, add leaves one proxy that serves") {
  PodsWorld node;
  REQUIRE(node.add(*node.host));
  node.remove();
  CHECK(node.ended() == 1);
  CHECK_FALSE(node.serves(*node.host));
  REQUIRE(node.add(*node.host));
  CHECK(node.states() == States{"u1 Up"});
  CHECK(node.started() == 2);
  CHECK(node.serves(*node.host));
}

TEST_CASE("after a new connection of the agent pods it names stay, with their connections, and others end") {
  Seen staying;
  StopSource stop;
  PodsWorld node;
  auto& other = node.add_pod_host("other", {ip("10.0.0.5")});
  REQUIRE(node.add(*node.host));
  REQUIRE(node.add(other, "u2"));
  node.snapshot({"u1", "u2"});
  node.ask_and_stay(*node.stranger, "a", staying, stop.token(), at("10.0.0.4:8080"));
  REQUIRE(node.world.run_until([&] { return staying.reply == "a"; }));
  node.pods.disconnected();
  CHECK_FALSE(node.ready());
  node.pods.connected();
  CHECK(node.states() == States{"u1 Up", "u2 Up"});
  node.snapshot({"u1"});
  CHECK(node.ready());
  CHECK(node.states() == States{"u1 Up"});
  CHECK(node.started() == 2);
  CHECK(node.ended() == 1);
  CHECK_FALSE(staying.done);
}

TEST_CASE("a pod that comes with another namespace is served there and no longer in the old one") {
  PodsWorld node;
  auto& moved = node.add_pod_host("moved", {ip("10.0.0.5")});
  node.serve(moved, 8080);
  REQUIRE(node.add(*node.host));
  REQUIRE(node.add(moved));
  node.settle();
  CHECK(node.started() == 2);
  CHECK(node.ended() == 1);
  CHECK(node.states() == States{"u1 Up"});
  CHECK(node.serves(moved));
  CHECK_FALSE(node.serves(*node.host));
}

TEST_CASE("while old proxies of a pod end, the pod counts as up once") {
  Seen staying;
  StopSource stop;
  PodsWorld node;
  REQUIRE(node.add(*node.host));
  node.ask_and_stay(*node.stranger, "a", staying, stop.token(), at("10.0.0.4:8080"));
  REQUIRE(node.world.run_until([&] { return staying.reply == "a"; }));
  auto& moved = node.add_pod_host("moved", {ip("10.0.0.5")});
  REQUIRE(node.add(moved));
  CHECK(node.count("workload_manager_active_proxy_count") == 1);
  node.settle();
  CHECK(node.states() == States{"u1 Up"});
  CHECK(staying.done);
}

TEST_CASE("listeners of two proxies share a port only when both may") {
  for (const bool reuse : {true, false}) {
    auto settings = MeshWorld::make_settings();
    settings.inpod_port_reuse = reuse;
    PodsWorld node(settings);
    auto older = node.network_of(*node.host)
                     .listen({IpAddress::any(true), kOutboundPort}, {.sharing = io::PortSharing::kShared})
                     .value();
    CHECK(node.add(*node.host).has_value() == reuse);
  }
}

TEST_CASE("a process that drains serves no new pod and does not become ready again") {
  PodsWorld node;
  REQUIRE(node.add(*node.host));
  node.snapshot({"u1"});
  CHECK(node.ready());
  node.world.run(node.pods.drain());
  CHECK_FALSE(node.ready());
  CHECK(node.ended() == 1);
  CHECK_FALSE(node.add(*node.host));
  CHECK(node.states().empty());
  CHECK_FALSE(node.serves(*node.host));
}
