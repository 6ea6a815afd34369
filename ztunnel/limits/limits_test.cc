#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <iterator>

#include "lib/async/manual_loop.h"
#include "lib/async/scope.h"
#include "ztunnel/inbound/stall_watch.h"
#include "ztunnel/limits/descriptors.h"
#include "ztunnel/limits/handshakes.h"
#include "ztunnel/limits/peers.h"
#include "ztunnel/pod_proxy.h"
#include "ztunnel/setting_table.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;

namespace {

IpAddress address(int last) { return IpAddress::parse("10.0.0." + std::to_string(last)).value(); }

struct Counted {
  telemetry::Registry registry;
  telemetry::CounterFamily& family = limit_family(registry);
  LimitCounters counters{family};
  NodePeers node{PeerLimits{}, 1 << 20};
  std::uint64_t of(LimitReason reason) { return family.with({{"reason", std::string(to_string(reason))}}).value(); }
};

Task<void> step(Pace::Queue& queue, int who, std::vector<int>& order) {
  co_await queue.turn();
  order.push_back(who);
}

Task<void> wait_for_room(Handshakes& handshakes, StopToken stop, bool& done) {
  co_await handshakes.room(std::move(stop));
  done = true;
}

}  // namespace

TEST_CASE("every limit has a label of its own and a counter from the start") {
  Counted counted;
  const auto text = counted.registry.text();
  for (std::size_t i = 0; i < kLimitReasonCount; ++i) {
    const std::string label = "reason=\"" + std::string(to_string(static_cast<LimitReason>(i))) + "\"} 0";
    CHECK(text.find(label) != text.npos);
  }
  CHECK(text.find("unknown") == text.npos);
}

TEST_CASE("connections and tunnels are counted by address and by identity, and given back") {
  Counted counted;
  Peers peers({.source_connections = 2, .source_tunnels = 3, .identity_connections = 3, .identity_tunnels = 4}, counted.node,
              counted.counters);
  const MonotonicTime now{};
  auto a1 = peers.seat(address(1), "a", now);
  auto a2 = peers.seat(address(1), "a", now);
  REQUIRE(a1);
  REQUIRE(a2);
  CHECK(peers.source_is_full(address(1)));
  CHECK_FALSE(peers.source_is_full(address(2)));
  auto refused = peers.seat(address(1), "b", now);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::kLimit);
  {
    auto a3 = peers.seat(address(2), "a", now);
    REQUIRE(a3);
    CHECK_FALSE(peers.seat(address(3), "a", now));
    CHECK(peers.seat(address(3), "b", now));
    CHECK(counted.of(LimitReason::kIdentityConnections) == 1);

    auto t1 = a1->open_tunnel();
    auto t2 = a1->open_tunnel();
    auto t3 = a2->open_tunnel();
    CHECK((t1 && t2 && t3));
    CHECK_FALSE(a2->open_tunnel());
    CHECK(counted.of(LimitReason::kSourceTunnels) == 1);
    auto t4 = a3->open_tunnel();
    CHECK(t4);
    CHECK_FALSE(a3->open_tunnel());
    CHECK(counted.of(LimitReason::kIdentityTunnels) == 1);
  }
  CHECK(peers.seat(address(3), "a", now));
  CHECK(a1->open_tunnel());
}

TEST_CASE("who breaks limits again waits longer each time, alone, and is forgiven in the end") {
  Counted counted;
  Peers peers({}, counted.node, counted.counters);
  MonotonicTime now{1h};
  auto welcome = [&](int last = 1, const char* identity = "a") {
    return peers.seat(address(last), identity, now).has_value();
  };
  peers.on_breach(address(1), "a", now);
  CHECK(welcome());
  peers.on_breach(address(1), "a", now);
  CHECK_FALSE(welcome());
  CHECK(counted.of(LimitReason::kBackOff) == 1);
  CHECK(welcome(1, "b"));  // another identity behind the same address
  CHECK(welcome(2));       // a replica elsewhere
  now += 1s;
  CHECK(welcome());
  peers.on_breach(address(1), "a", now);
  now += 1s;
  CHECK_FALSE(welcome());
  now += 1s;
  CHECK(welcome());
  for (int i = 0; i < 20; ++i) peers.on_breach(address(1), "a", now);
  now += kBackOffMax - 1s;
  CHECK_FALSE(welcome());
  now += 1s;
  CHECK(welcome());
  now += kBackOffForgiven + 1s;
  peers.on_breach(address(1), "a", now);
  CHECK(welcome());
}

TEST_CASE("only so many offenders are remembered, the latest") {
  Counted counted;
  Peers peers({}, counted.node, counted.counters);
  MonotonicTime now{1h};
  for (int i = 0; i < 5000; ++i) {
    now += 1ms;
    peers.on_breach(address(1), "identity-" + std::to_string(i), now);
    peers.on_breach(address(1), "identity-" + std::to_string(i), now);
  }
  CHECK(peers.offenders() == kOffendersMax);
  CHECK_FALSE(peers.seat(address(1), "identity-4999", now));
  CHECK(peers.seat(address(1), "identity-0", now));
}

TEST_CASE("one pod's connections never take the descriptors of others, all pods' never those of the program") {
  Counted counted;
  Descriptors all(1000, 25);
  CHECK(all.total() == 750);
  CHECK(all.pod_max() == 187);
  PodDescriptors greedy(all, counted.counters), modest(all, counted.counters);
  std::vector<PodDescriptors::Hold> held;
  for (;;) {
    auto hold = greedy.take(2);
    if (!hold) break;
    held.push_back(std::move(hold));
  }
  CHECK(greedy.used() == 186);
  CHECK(counted.of(LimitReason::kPodDescriptors) == 1);
  CHECK(modest.take(2));
  held.clear();
  CHECK(all.used() == 0);

  Descriptors small(1000, 100);
  PodDescriptors one(small, counted.counters), other(small, counted.counters);
  auto most = one.take(750);
  CHECK(most);
  CHECK_FALSE(other.take(1));
  CHECK(counted.of(LimitReason::kDescriptors) == 1);
  CHECK(Descriptors(1 << 20, 25).total() == (1 << 20) - kDescriptorReserve);
}

TEST_CASE("one address has few unfinished handshakes, whatever others have") {
  ManualLoop loop;
  Counted counted;
  Pace pace(loop);
  Handshakes handshakes(loop, pace, counted.counters, 1 << 20);
  std::vector<std::unique_ptr<Handshakes::Place>> places;
  while (!handshakes.source_is_full(address(1)))
    places.push_back(std::make_unique<Handshakes::Place>(handshakes, address(1), StopToken()));
  CHECK(places.size() == kSourceHandshakesMax);
  CHECK_FALSE(handshakes.source_is_full(address(2)));
  CHECK(counted.of(LimitReason::kSourceHandshakes) == 1);
  places.pop_back();
  CHECK_FALSE(handshakes.source_is_full(address(1)));
}

TEST_CASE("where a pod has few places for handshakes one address has half of them, and others do not wait for it") {
  ManualLoop loop;
  Counted counted;
  Pace pace(loop);
  Handshakes handshakes(loop, pace, counted.counters, 75);  // of a process that may have 400 descriptors: 18 places
  std::vector<std::unique_ptr<Handshakes::Place>> places;
  while (!handshakes.source_is_full(address(1)))
    places.push_back(std::make_unique<Handshakes::Place>(handshakes, address(1), StopToken()));
  CHECK(places.size() == 9);
  CHECK_FALSE(handshakes.source_is_full(address(2)));
  bool room = false;
  Scope scope(loop);
  scope.spawn(wait_for_room(handshakes, scope.token(), room));
  CHECK(room);
  places.clear();
  loop.run(scope.join());
}

TEST_CASE("while all places are taken nothing is accepted; then the oldest that had its time gives way, no other") {
  ManualLoop loop;
  Counted counted;
  Pace pace(loop);
  Handshakes handshakes(loop, pace, counted.counters, 1 << 20);
  std::vector<std::unique_ptr<Handshakes::Place>> places;
  bool room = false;
  Scope scope(loop);
  for (std::size_t i = 0; i < kPodHandshakesMax; ++i) {
    if (i == 1) loop.advance(500ms);
    scope.spawn(wait_for_room(handshakes, scope.token(), room));
    CHECK(room);
    room = false;
    places.push_back(std::make_unique<Handshakes::Place>(handshakes, address(static_cast<int>(i % 250)), StopToken()));
  }
  scope.spawn(wait_for_room(handshakes, scope.token(), room));
  loop.advance(400ms);
  CHECK_FALSE(room);
  CHECK_FALSE(places[0]->given_away());
  loop.advance(200ms);
  CHECK(places[0]->given_away());
  CHECK(places[0]->token().stop_requested());
  CHECK_FALSE(places[1]->given_away());
  CHECK(counted.of(LimitReason::kSlowHandshake) == 1);
  CHECK(room);
  places.erase(places.begin());
  loop.run_until_idle();
  // One that ends by itself makes room without anybody giving way.
  room = false;
  places.push_back(std::make_unique<Handshakes::Place>(handshakes, address(9), StopToken()));
  scope.spawn(wait_for_room(handshakes, scope.token(), room));
  loop.run_until_idle();
  CHECK_FALSE(room);
  places.pop_back();
  loop.run_until_idle();
  CHECK(room);
  CHECK(counted.of(LimitReason::kSlowHandshake) == 1);
  places.clear();
  loop.run(scope.join());
}

TEST_CASE("costly steps are taken one a turn, each party's in turn, however many wait") {
  ManualLoop loop;
  Pace pace(loop);
  Pace::Queue storm(pace), quiet(pace);
  std::vector<int> order;
  Scope scope(loop);
  for (int i = 0; i < 100; ++i) scope.spawn(step(storm, 1, order));
  scope.spawn(step(quiet, 2, order));
  scope.spawn(step(quiet, 2, order));
  CHECK(order.empty());
  // Something else of the loop runs between two steps.
  std::size_t between = 0;
  std::size_t seen = 0;
  Timer other([&] {
    if (order.size() > seen + 1) ++between;
    seen = order.size();
    if (seen < 102) loop.arm(other, loop.now());
  });
  loop.arm(other, loop.now());
  loop.run_until_idle();
  REQUIRE(order.size() == 102);
  CHECK(between == 0);
  CHECK(order[1] == 2);
  CHECK(order[3] == 2);
  loop.run(scope.join());
}

TEST_CASE("SECURITY.md gives the limits that the code has") {
  std::ifstream file(WEFT_SECURITY_PAGE);
  REQUIRE(file);
  const std::string page((std::istreambuf_iterator<char>(file)), {});
  auto n = [](auto value) { return std::to_string(value); };
  auto seconds = [](Duration time) {
    return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count()) + " s";
  };
  const http2::Settings h2;
  const std::string rows[] = {
      "| " + n(http2::kResetBurst) + " at once, " + n(http2::kResetsPerSecond) + " a second | `resets` |",
      "frame counts " + n(http2::kSettingsCost) + " times | " + n(http2::kControlBurst) + " at once, " +
          n(http2::kControlPerSecond) + " a second, " + n(http2::kControlPerDataSent) + " for each DATA frame sent, " +
          n(http2::kControlPerDataReceived) + " for each received |",
      "| " + n(http2::kQueuedAcksMax) + ", " + n(http2::kQueuedFramesMax) + " |",
      "in a row | " + n(http2::kWasteBurst / http2::kEmptyFrameCost) + " | `no_progress` |",
      "| " + n(http2::kWasteBurst) + " at once, " + n(http2::kWastePerSecond) + " a second | `no_progress` |",
      "one DATA frame received pays for " + n(http2::kEmptyFrameCost / http2::kUnwantedHeadersCost) + " | " +
          n(http2::kWasteBurst / http2::kUnwantedHeadersCost) + " at once, " +
          n(http2::kWastePerSecond / http2::kUnwantedHeadersCost) + " a second | `no_progress` |",
      "DATA frames below " + n(http2::kTinyPayload) + " bytes that no application has taken | " + n(http2::kTinyUnreadMax) +
          " |",
      "| " + n(http2::kContinuationsMax) + "; " + n(h2.max_header_list) + "; " + n(http2::kHeaderFieldsMax) + " |",
      "| time for a header block | " + seconds(http2::kHeaderBlockTimeout) + " |",
      "| " + n(h2.max_concurrent_streams) + "; " + n(http2::kHandledPerAnnounced * h2.max_concurrent_streams) + " |",
      "| HPACK table, each way | " + n(http2::kHeaderTableSize) + " bytes |",
      "have their turn | " + n(http2::kFramesPerTurn) + " |",
      "| time for a handshake | " + seconds(kConnectTimeout) + " |",
      "of one address with one pod | " + n(kSourceHandshakesMax) + ", and half of the pod's |",
      "that had " + seconds(kHandshakeSafeFor) + " gives way | " + n(kPodHandshakesMax) +
          ", and a quarter of the pod's descriptors |",
      "within " + n(std::chrono::duration_cast<std::chrono::minutes>(kBackOffForgiven).count()) +
          " minutes waits: " + seconds(kBackOffFirst) + ", doubled each time, up to " + seconds(kBackOffMax),
      "| " + n(kDescriptorReserve) + ", at most a quarter of all |",
      n(telemetry::kSeriesMax) + " label sets",
  };
  for (const auto& row : rows) {
    INFO(row);
    CHECK(page.find(row) != page.npos);
  }
  static_assert(kDescriptorReservePart == 4);
  static_assert(kIdentityDescriptorPart == 4);
  const PeerLimits peers;
  const std::pair<const char*, std::uint64_t> settings[] = {
      {"WEFT_SOURCE_CONNECTIONS_MAX", peers.source_connections},
      {"WEFT_SOURCE_TUNNELS_MAX", peers.source_tunnels},
      {"WEFT_IDENTITY_CONNECTIONS_MAX", peers.identity_connections},
      {"WEFT_IDENTITY_TUNNELS_MAX", peers.identity_tunnels},
      {"WEFT_NODE_IDENTITY_CONNECTIONS_MAX", peers.node_identity_connections},
      {"WEFT_NODE_IDENTITY_TUNNELS_MAX", peers.node_identity_tunnels},
      {"WEFT_NODE_IDENTITY_STALLED_MAX", peers.node_identity_stalled},
      {"WEFT_POD_DESCRIPTORS", Settings().pod_descriptors},
  };
  for (const auto& [name, value] : settings) {
    INFO(name);
    CHECK(find_setting(name).default_text == n(value));
    CHECK(page.find("| " + n(value) + " | `" + name + "` |") != page.npos);
  }
  CHECK(Settings().stall_timeout == 1h);
  CHECK(find_setting("WEFT_STALL_TIMEOUT").default_text == "1h");
  CHECK(page.find("fewer than " + n(kStallProgress) + " of them moved | 1 h | `WEFT_STALL_TIMEOUT` |") != page.npos);
  for (std::size_t i = 0; i < kLimitReasonCount; ++i) {
    const auto reason = to_string(static_cast<LimitReason>(i));
    if (reason == "protocol" || reason == "back_off") continue;  // no number of theirs
    INFO(reason);
    CHECK(page.find("`" + std::string(reason) + "`") != page.npos);
  }
}
