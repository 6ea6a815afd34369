// Members of the mesh that attack a pod through its tunnel port, frame by frame over real TLS, in the simulated world. Each
// attack asserts the same: the attacker is cut and counted, what it holds is bounded, and the work of others, counted in the
// world's time, takes as long as without it.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <functional>

#include "ztunnel/test_battle.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;

namespace {

// Opens and says nothing.
Task<void> stay_silent(io::Network& network, bool& ended, StopToken stop) {
  auto socket = co_await network.connect(kTunnelPort, {}, stop);
  if (socket) {
    StopCallback on_stop(stop, [&socket] { (*socket)->abort(io::AbortReason::kCancel); });
    auto data = co_await (*socket)->read(1024);
    (void)data;
  }
  ended = true;
}

}  // namespace

TEST_CASE("floods over TLS: each is told why it ends and counted, honest tunnels of others never notice") {
  struct Flood {
    LimitReason reason;
    std::uint32_t told;  // the error in GOAWAY
    std::function<std::string(std::size_t)> piece;
  };
  const std::string open = h2raw::connect(1);
  const Flood floods[] = {
      {LimitReason::kResets, 11, after_hello([](std::size_t i) { return h2raw::connect(id(i)) + h2raw::reset(id(i)); })},
      // Streams that we reset, faster than our resets arrive: more at once than was agreed to.
      {LimitReason::kProtocol, 1, after_hello([](std::size_t i) {
         std::string block = h2raw::connect_block();
         for (int field = 0; field < 80; ++field) block += h2raw::literal("x", "y");
         return h2raw::frame(h2raw::kHeaders, h2raw::kEndHeaders, id(i), block);
       })},
      {LimitReason::kHeaderBlock, 11,
       after_hello([](std::size_t) { return h2raw::frame(h2raw::kContinuation, 0, 1, h2raw::literal("x", "y")); },
                   h2raw::frame(h2raw::kHeaders, 0, 1, h2raw::connect_block()))},
      {LimitReason::kControlFrames, 11, after_hello([](std::size_t) { return h2raw::ping(); }, open)},
      {LimitReason::kControlFrames, 11, after_hello([](std::size_t) { return h2raw::settings({{4, 65'535}}); }, open)},
      {LimitReason::kControlFrames, 11, after_hello([](std::size_t) { return h2raw::window_update(0, 1); }, open)},
      {LimitReason::kNoProgress, 11, after_hello([](std::size_t) { return h2raw::frame(h2raw::kData, 0, 1); }, open)},
      // Of streams that were passed over when 101 was opened.
      {LimitReason::kNoProgress, 11,
       after_hello([](std::size_t i) { return h2raw::connect(id(i % 50)); }, h2raw::connect(101))},
  };
  Battle battle;
  for (const auto& flood : floods) {
    INFO(to_string(flood.reason));
    const auto before = battle.counted(flood.reason);
    Attacker attacker;
    (void)battle.mesh.ask(*battle.mesh.pod_a);
    battle.start(attacker, flood.piece);
    const auto under_attack = battle.honest_work();
    CHECK(under_attack <= battle.alone * 3 / 2);
    REQUIRE(battle.fights(attacker));
    CHECK(attacker.pieces < kPiecesMax);
    bool told = false;
    for (const auto& frame : h2raw::parse(attacker.answers))
      told = told || (frame.type == h2raw::kGoaway && frame.error() == flood.told);
    CHECK(told);
    CHECK(battle.counted(flood.reason) == before + 1);
    battle.mesh.world.run_for(11min);  // the peer is forgiven
  }
  battle.finish();
}

TEST_CASE("rapid reset makes no dials pile up at the application") {
  Attacker attacker;
  Battle battle;
  const auto before = battle.mesh.callers().size();
  battle.start(attacker, after_hello([](std::size_t i) {
                 std::string piece;
                 for (std::size_t k = 0; k < 50; ++k) piece += h2raw::connect(id(50 * i + k)) + h2raw::reset(id(50 * i + k));
                 return piece;
               }));
  REQUIRE(battle.fights(attacker));
  CHECK(battle.mesh.callers().size() <= before + 20);
  battle.finish();
}

TEST_CASE("who comes back after being cut waits, others behind its address do not") {
  Attacker refused;
  Attacker neighbour;
  Battle battle;
  const auto flood = after_hello([](std::size_t) { return h2raw::ping(); });
  for (int i = 0; i < 2; ++i) {
    Attacker attacker;
    battle.start(attacker, flood);
    REQUIRE(battle.fights(attacker));
  }
  battle.start(refused, flood, 1);
  REQUIRE(battle.fights(refused));
  CHECK(battle.counted(LimitReason::kBackOff) == 1);
  CHECK(battle.counted(LimitReason::kControlFrames) == 2);

  neighbour.who = "neighbour";
  battle.start(neighbour,
               after_hello([](std::size_t) { return h2raw::connect(1) + h2raw::frame(h2raw::kData, 0, 1, "hi"); }), 1);
  battle.mesh.world.run_for(500ms);
  CHECK_FALSE(neighbour.over);
  CHECK(battle.counted(LimitReason::kBackOff) == 1);
  battle.finish();
}

TEST_CASE("one byte at a time through a tunnel is honest traffic, both ways and for long") {
  Attacker typist;
  Battle battle;
  battle.start(typist, after_hello([](std::size_t) { return h2raw::frame(h2raw::kData, 0, 1, "x"); }, h2raw::connect(1)),
               20'000);
  REQUIRE(battle.mesh.world.run_until([&] { return typist.pieces == 20'000; }));
  battle.mesh.world.run_for(1s);
  CHECK_FALSE(typist.over);
  std::size_t echoed = 0;
  for (const auto& frame : h2raw::parse(typist.answers))
    if (frame.type == h2raw::kData) echoed += frame.payload.size();
  CHECK(echoed == 20'000);
  battle.finish();
}

TEST_CASE("silent handshakes: few from one address, bounded in all, and the honest get through meanwhile") {
  std::vector<std::unique_ptr<bool>> ended;  // written by tasks of the world
  Attacker newcomer;
  Battle battle;
  std::vector<sim::Host*> hosts;
  for (int i = 0; i < 12; ++i)
    hosts.push_back(
        &battle.mesh.internet.make_host("bot" + std::to_string(i), {ip(("10.0.1." + std::to_string(i + 1)).c_str())}));
  for (int i = 0; i < 600; ++i) {
    ended.push_back(std::make_unique<bool>(false));
    battle.mesh.clients.spawn(stay_silent(battle.mesh.network_of(*hosts[static_cast<std::size_t>(i) % hosts.size()]),
                                          *ended.back(), battle.end.token()));
  }
  battle.mesh.world.run_for(100ms);
  // 50 from each of twelve: few each may stay, and in all no more than the pod has places.
  CHECK(battle.mesh.count("istio_tcp_sockets_open", "reporter=\"destination\"") <= kPodHandshakesMax + 1);
  CHECK(battle.honest_work() <= battle.alone * 3 / 2);  // over the tunnel that stands

  // A newcomer's handshake among them: the oldest give way.
  battle.start(newcomer, after_hello([](std::size_t) { return h2raw::connect(1); }), 1);
  REQUIRE(battle.mesh.world.run_until([&] { return newcomer.connected; }));
  battle.mesh.world.run_for(15s);
  CHECK(battle.counted(LimitReason::kSlowHandshake) > 0);
  for (const auto& one : ended) CHECK(*one);
  battle.finish();
}

TEST_CASE("one address with many silent handshakes is refused more at once, another address is not") {
  std::vector<std::unique_ptr<bool>> ended;  // written by tasks of the world
  Battle battle;
  // The pod's places are a quarter of its descriptors, and half of them are one address's.
  const auto most = battle.mesh.b.worker.descriptors().pod_max() / 4 / 2;
  CHECK(most < kSourceHandshakesMax);
  for (int i = 0; i < 100; ++i) {
    ended.push_back(std::make_unique<bool>(false));
    battle.mesh.clients.spawn(stay_silent(battle.mesh.network_of(*battle.mesh.stranger), *ended.back(), battle.end.token()));
  }
  battle.mesh.world.run_for(500ms);
  CHECK(battle.counted(LimitReason::kSourceHandshakes) == 100 - most);
  CHECK(battle.counted(LimitReason::kSlowHandshake) == 0);
  CHECK(battle.honest_work() <= battle.alone * 3 / 2);
  battle.mesh.world.run_for(15s);
  CHECK(battle.counted(LimitReason::kSlowHandshake) == most);
  battle.finish();
}

TEST_CASE("connections and tunnels held for ever: a peer has so many and no more, others have theirs") {
  Settings settings = MeshWorld::make_settings();
  settings.peer_limits = {
      .source_connections = 10, .source_tunnels = 100, .identity_connections = 8, .identity_tunnels = 100};
  std::vector<std::unique_ptr<Attacker>> holders;  // written by tasks of the world
  Battle battle(settings);
  for (int i = 0; i < 12; ++i) {
    holders.push_back(std::make_unique<Attacker>());
    battle.start(*holders.back(), after_hello([](std::size_t) {
      std::string open;
      for (std::size_t k = 0; k < 20; ++k) open += h2raw::connect(id(k));
      return open;
    }),
                 1);
    battle.mesh.world.run_for(200ms);
  }
  CHECK(battle.counted(LimitReason::kIdentityConnections) == 4);
  CHECK(battle.counted(LimitReason::kSourceTunnels) == 60);
  CHECK(battle.mesh.b.worker.descriptors().used() == 2 + 8 + 100);
  CHECK(battle.honest_work() <= battle.alone * 3 / 2);
  battle.finish();
}

TEST_CASE("a pod whose connections have its share of descriptors is refused more, another pod of the node is not") {
  std::vector<std::unique_ptr<Seen>> seen;  // written by tasks of the world
  Battle battle;                            // a quarter of 768 for one pod
  const auto most = battle.mesh.b.worker.descriptors().pod_max();
  StopSource stop;
  for (std::size_t i = 0; i < most; ++i) {
    seen.push_back(std::make_unique<Seen>());
    battle.mesh.ask_and_stay(*battle.mesh.stranger, "x", *seen.back(), stop.token());
  }
  battle.mesh.world.run_for(1s);
  CHECK(battle.counted(LimitReason::kPodDescriptors) >= most / 2);
  CHECK(battle.mesh.b.worker.descriptors().used() <= most);
  CHECK(battle.counted(LimitReason::kDescriptors) == 0);
  stop.request_stop();
  REQUIRE(battle.mesh.world.run_until(
      [&] { return std::all_of(seen.begin(), seen.end(), [](const auto& one) { return one->done; }); }));
  battle.finish();
}

TEST_CASE("what is no HTTP/2 over TLS, and what breaks its rules, ends the connection and is counted") {
  Battle battle;
  for (const auto& bytes :
       {std::string("GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
        h2raw::hello() + h2raw::frame(h2raw::kPushPromise, h2raw::kEndHeaders, 1, h2raw::big_endian(2, 4)),
        h2raw::hello() + h2raw::window_update(0, 0x7fffffff)}) {
    const auto before = battle.counted(LimitReason::kProtocol);
    Attacker attacker;
    battle.start(attacker, [&bytes](std::size_t) { return bytes; }, 1);
    REQUIRE(battle.fights(attacker));
    battle.mesh.world.run_for(10s);
    CHECK(battle.counted(LimitReason::kProtocol) == before + 1);
  }
  // Plain HTTP/2 at the tunnel port: the handshake ends it.
  const auto failed = battle.counted(LimitReason::kTls);
  const auto plain = battle.mesh.ask(*battle.mesh.stranger, h2raw::hello() + h2raw::connect(1), kTunnelPort);
  CHECK(plain.reply.size() < 16);  // an alert at most
  CHECK(battle.counted(LimitReason::kTls) == failed + 1);
  battle.finish();
}

TEST_CASE("a flood of TLS key updates ends the connection and is counted, now and then they are followed") {
  Battle battle;
  const auto pings = after_hello([](std::size_t) { return h2raw::ping(); });
  const auto before = battle.counted(LimitReason::kTls);
  Attacker careful;
  careful.records_per_key = 20;
  battle.start(careful, pings, 200);
  REQUIRE(battle.mesh.world.run_until([&] { return careful.pieces == 200; }));
  battle.mesh.world.run_for(1s);
  CHECK_FALSE(careful.over);
  CHECK(battle.counted(LimitReason::kTls) == before);

  Attacker attacker;
  attacker.records_per_key = 1;
  battle.start(attacker, pings);
  const auto under_attack = battle.honest_work();
  CHECK(under_attack <= battle.alone * 3 / 2);
  REQUIRE(battle.fights(attacker));
  CHECK(attacker.pieces < kPiecesMax);
  CHECK(battle.counted(LimitReason::kTls) == before + 1);
  battle.finish();
}

TEST_CASE("refusals are logged up to a rate and counted beyond it") {
  Attacker attacker;
  Battle battle;
  battle.start(attacker, after_hello([](std::size_t i) { return h2raw::connect(id(i), "127.0.0.1:1"); }), 1000);
  REQUIRE(battle.mesh.world.run_until([&] { return attacker.pieces == 1000; }));
  battle.mesh.world.run_for(1s);
  CHECK(battle.counted(LimitReason::kLogLines) > 50);
  battle.finish();
}

TEST_CASE("a policy is asked about the certificate's identity, whatever the request says of its sender") {
  MeshWorld mesh;
  auto ask = [&](const char* identity) {
    const http2::Headers request = {{":method", "CONNECT"},
                                    {":authority", "10.0.0.2:8080"},
                                    {"forwarded", "for=10.0.0.1;by=" + identity_of("front").to_string()},
                                    {"baggage", "k8s.namespace.name=shop,k8s.pod.name=front,service.name=front"},
                                    {"x-forwarded-client-cert", "URI=" + identity_of("front").to_string()}};
    return mesh.ask_tunnel(request, "", identity_of(identity)).answer;
  };
  CHECK(ask("mallory") == "200");
  mesh.deny({.not_principals = {{model::StringMatch::Kind::kExact, identity_of("front").principal()}}});
  CHECK(ask("mallory") == "http status: 401 Unauthorized");
  CHECK(ask("front") == "200");
}
