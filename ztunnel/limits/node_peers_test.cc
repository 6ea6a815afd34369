#include "ztunnel/limits/node_peers.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "ztunnel/limits/peers.h"
#include "ztunnel/test_battle.h"

using namespace weft;
using namespace weft::ztunnel;

namespace {

struct Pod {
  explicit Pod(NodePeers& node, LimitCounters& counters) : peers(PeerLimits{}, node, counters) {}
  Peers peers;
};

}  // namespace

TEST_CASE("what an identity holds at one pod counts at the others, and comes back") {
  telemetry::Registry registry;
  auto& family = limit_family(registry);
  LimitCounters counters(family);
  const auto counted = [&](LimitReason reason) { return family.with({{"reason", std::string(to_string(reason))}}).value(); };
  PeerLimits limits;
  limits.node_identity_connections = 3;
  limits.node_identity_tunnels = 4;
  NodePeers node(limits, 1 << 20);
  Pod one(node, counters), other(node, counters);
  const MonotonicTime now{};
  const auto address = ip("10.0.0.9");
  {
    auto a = one.peers.seat(address, "a", now);
    auto b = one.peers.seat(address, "a", now);
    auto c = other.peers.seat(address, "a", now);
    REQUIRE((a && b && c));
    auto refused = other.peers.seat(address, "a", now);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code() == ErrorCode::kLimit);
    CHECK(refused.error().message().find("the pods of this node") != std::string::npos);
    CHECK_FALSE(one.peers.seat(address, "a", now));
    CHECK(counted(LimitReason::kNodeIdentityConnections) == 2);
    CHECK(other.peers.seat(address, "b", now));

    auto t1 = a->open_tunnel();
    auto t2 = b->open_tunnel();
    auto t3 = c->open_tunnel();
    {
      auto t4 = c->open_tunnel();
      CHECK((t1 && t2 && t3 && t4));
      CHECK_FALSE(a->open_tunnel());
      CHECK_FALSE(c->open_tunnel());
      CHECK(counted(LimitReason::kNodeIdentityTunnels) == 2);
      auto somebody = other.peers.seat(address, "b", now);
      REQUIRE(somebody);
      CHECK(somebody->open_tunnel());
    }
    CHECK(a->open_tunnel());
  }
  CHECK(node.identities() == 0);
  CHECK(other.peers.seat(address, "a", now));
  CHECK(counted(LimitReason::kIdentityConnections) == 0);
  CHECK(counted(LimitReason::kIdentityTunnels) == 0);
}

TEST_CASE("a refused identity leaves nothing behind, and few descriptors make the bounds smaller") {
  NodePeers node(PeerLimits{}, 8);
  std::vector<NodePeers::Place> held;
  for (;;) {
    auto place = node.take("a");
    if (!place) break;
    held.push_back(std::move(place));
  }
  CHECK(held.size() == 8 / kIdentityDescriptorPart);
  CHECK(held[0].open_tunnel());
  CHECK(held[1].open_tunnel());
  CHECK_FALSE(held[0].open_tunnel());
  held[0].close_tunnel();
  held[1].close_tunnel();
  CHECK(node.identities() == 1);
  held.clear();
  CHECK(node.identities() == 0);
}

TEST_CASE("places taken and given back by many threads at once are never more than the bound, and all come back") {
  PeerLimits limits;
  limits.node_identity_connections = 6;
  limits.node_identity_tunnels = 10;
  NodePeers node(limits, 1 << 20);
  std::atomic<int> connections = 0, tunnels = 0, most_connections = 0, most_tunnels = 0;
  const auto note = [](std::atomic<int>& most, int now) {
    for (int seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) {
    }
  };
  std::vector<std::thread> workers;
  for (int worker = 0; worker < 4; ++worker) {
    workers.emplace_back([&, worker] {
      for (int i = 0; i < 20'000; ++i) {
        std::vector<NodePeers::Place> held;
        for (int k = 0; k < 1 + (i + worker) % 3; ++k) {
          if (auto place = node.take("a")) {
            note(most_connections, ++connections);
            held.push_back(std::move(place));
          }
        }
        for (auto& place : held) {
          int opened = 0;
          while (opened < 4 && place.open_tunnel()) {
            ++opened;
            note(most_tunnels, ++tunnels);
          }
          for (; opened > 0; --opened) {
            --tunnels;
            place.close_tunnel();
          }
        }
        connections -= static_cast<int>(held.size());
      }
    });
  }
  for (auto& worker : workers) worker.join();
  CHECK(most_connections <= 6);
  CHECK(most_tunnels <= 10);
  CHECK(node.identities() == 0);
  std::vector<NodePeers::Place> all;
  for (int i = 0; i < 6; ++i) all.push_back(node.take("a"));
  CHECK(std::all_of(all.begin(), all.end(), [](const auto& place) { return static_cast<bool>(place); }));
  for (int i = 0; i < 10; ++i) CHECK(all[0].open_tunnel());
  for (int i = 0; i < 10; ++i) all[0].close_tunnel();
}

namespace {

// 20 tunnels on each connection.
std::function<std::string(std::size_t)> twenty_tunnels(const char* authority) {
  return after_hello([authority](std::size_t) {
    std::string open;
    for (std::size_t k = 0; k < 20; ++k) open += h2raw::connect(id(k), authority);
    return open;
  });
}

struct Refusals {
  std::uint64_t connections = 0;
  std::uint64_t tunnels = 0;
};

// Four connections of one identity to a pod on each of two workers, one of another identity, and one more after places came
// back.
Refusals hold_at_two_pods(std::uint32_t connections, std::uint32_t tunnels, bool bounded) {
  std::vector<std::unique_ptr<Attacker>> holders;  // written by tasks of the world
  Settings settings = MeshWorld::make_settings();
  settings.peer_limits.node_identity_connections = connections;
  settings.peer_limits.node_identity_tunnels = tunnels;
  Battle battle(settings);
  battle.mesh.serve(*battle.mesh.pod_a, 8080);
  const SocketAddress front{ip("10.0.0.1"), kHbonePort};
  StopSource at_cart;
  const auto add = [&](const char* who, bool to_front) -> Attacker& {
    auto& holder = *holders.emplace_back(std::make_unique<Attacker>());
    holder.who = who;
    if (to_front) {
      holder.target = front;
      holder.pod = "front";
    }
    battle.start(holder, twenty_tunnels(to_front ? "10.0.0.1:8080" : "10.0.0.2:8080"), 1,
                 to_front ? battle.end.token() : at_cart.token());
    battle.mesh.world.run_for(200ms);
    return holder;
  };
  for (int i = 0; i < 4; ++i) add("mallory", false);
  for (int i = 0; i < 4; ++i) add("mallory", true);
  const Refusals refused{battle.counted(LimitReason::kNodeIdentityConnections),
                         battle.counted(LimitReason::kNodeIdentityTunnels)};
  CHECK(battle.honest_work() <= battle.alone * 3 / 2);
  const auto answers = [](const Attacker& holder) {
    const auto frames = h2raw::parse(holder.answers);
    return std::count_if(frames.begin(), frames.end(), [](const auto& frame) { return frame.type == h2raw::kHeaders; });
  };
  // Another identity, behind the same address.
  auto& other = add("neighbour", true);
  CHECK_FALSE(other.over);
  CHECK(answers(other) == 20);
  CHECK(battle.counted(LimitReason::kNodeIdentityConnections) == refused.connections);
  CHECK(battle.counted(LimitReason::kNodeIdentityTunnels) == refused.tunnels);
  if (bounded) {
    // One worker's pod gives back, the other's has room again.
    CHECK(holders[7]->over);
    at_cart.request_stop();
    battle.mesh.world.run_for(1s);
    auto& again = add("mallory", true);
    CHECK_FALSE(again.over);
    CHECK(answers(again) == 20);
  }
  CHECK(battle.counted(LimitReason::kNodeIdentityConnections) == refused.connections);
  CHECK(battle.counted(LimitReason::kNodeIdentityTunnels) == refused.tunnels);
  CHECK(battle.counted(LimitReason::kIdentityConnections) == 0);
  CHECK(battle.counted(LimitReason::kIdentityTunnels) == 0);
  at_cart.request_stop();
  battle.finish();
  CHECK(battle.mesh.limits.peers.identities() == 1);  // the honest pod's
  return refused;
}

}  // namespace

TEST_CASE("an identity has so many connections and tunnels at all pods of the node together, others have theirs") {
  const auto bounded = hold_at_two_pods(6, 100, true);
  CHECK(bounded.connections == 2);
  CHECK(bounded.tunnels == 20);
  const auto free = hold_at_two_pods(1000, 1000, false);
  CHECK(free.connections == 0);
  CHECK(free.tunnels == 0);
}
