// Life of a pod's proxy: certificates, drain, destinations that leave, a network that misbehaves. Routing, tunnels and
// policies have tests of their own beside their folders' files.
#include "ztunnel/pod_proxy.h"

#include <catch2/catch_test_macros.hpp>

#include "ztunnel/test_mesh.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;

TEST_CASE("no certificate, no tunnel: the connection fails, and works when the authority is back") {
  MeshWorld mesh;
  mesh.source.available = false;
  mesh.objects.workloads[0].service_account = "newcomer";
  mesh.publish();
  mesh.stop("front");
  REQUIRE(mesh.try_start(mesh.a, "front", "newcomer", *mesh.pod_a));
  CHECK(mesh.ask(*mesh.pod_a).error);
  CHECK(mesh.count("istio_tcp_connections_failed_total", "response_flags=\"IDENTITY_ERROR\"") == 1);
  mesh.source.available = true;
  mesh.world.run_for(10s);
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
}

TEST_CASE(
    "a graceful drain serves who has begun, refuses who comes later, and lets open connections finish until the deadline") {
  MeshWorld mesh;
  Seen staying;
  StopSource stop;
  mesh.ask_and_stay(*mesh.pod_a, "a", staying, stop.token());
  REQUIRE(mesh.world.run_until([&] { return staying.reply == "a"; }));
  const auto begun = mesh.world.clock().monotonic();
  bool b_stopped = false;
  Scope drains(mesh.b.loop);
  drains.spawn(mesh.stop_later("cart", DrainMode::kGraceful, b_stopped));
  mesh.world.run_for(100ms);
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
  mesh.world.run_for(kHandshakeGrace);
  CHECK(!staying.done);
  CHECK(mesh.ask(*mesh.pod_a).error);
  CHECK(mesh.ask(*mesh.stranger).error);
  REQUIRE(mesh.world.run_until([&] { return b_stopped; }));
  CHECK(mesh.world.clock().monotonic() - begun >= 5s);
  REQUIRE(mesh.world.run_until([&] { return staying.done; }));
  CHECK(staying.error);
}

TEST_CASE("a graceful drain ends as soon as the last connection has") {
  MeshWorld mesh;
  Seen staying;
  StopSource stop;
  mesh.ask_and_stay(*mesh.stranger, "a", staying, stop.token());
  REQUIRE(mesh.world.run_until([&] { return staying.reply == "a"; }));
  const auto begun = mesh.world.clock().monotonic();
  bool stopped = false;
  Scope drains(mesh.b.loop);
  drains.spawn(mesh.stop_later("cart", DrainMode::kGraceful, stopped));
  mesh.world.run_for(1s);
  CHECK(!stopped);
  stop.request_stop();
  REQUIRE(mesh.world.run_until([&] { return stopped; }));
  CHECK(mesh.world.clock().monotonic() - begun < 2s);
}

TEST_CASE("a server whose proxy is gone takes no data, on a new connection and on the one that was open") {
  MeshWorld mesh;
  Seen staying;
  StopSource stop;
  mesh.ask_and_stay(*mesh.pod_a, "a", staying, stop.token());
  REQUIRE(mesh.world.run_until([&] { return staying.reply == "a"; }));
  mesh.stop("cart");
  REQUIRE(mesh.world.run_until([&] { return staying.done; }));
  CHECK(staying.error);
  // The client's own proxy took the connection before it could know.
  const auto next = mesh.ask(*mesh.pod_a);
  REQUIRE(next.error);
  CHECK(next.error->code() == ErrorCode::kReset);
  CHECK(mesh.callers().size() == 1);
}

TEST_CASE("a destination that left the mesh is not reached over the tunnel made before") {
  MeshWorld mesh;
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
  auto gone = mesh.objects.workloads.back();
  mesh.objects.workloads.pop_back();
  mesh.publish();
  mesh.world.run_for(30s);
  CHECK(mesh.count("istio_tcp_sockets_open", "reporter=\"destination\"") == 0);
  mesh.objects.workloads.push_back(gone);
  mesh.publish();
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
}

TEST_CASE("a connection waits for the mesh to hear of its pod, five seconds at most") {
  Seen first;
  StopSource stop;
  MeshWorld mesh;
  auto& host = mesh.add_pod_host("late", {ip("10.0.0.4")});
  mesh.start(mesh.a, "late", host);
  mesh.ask_and_stay(host, "early", first, stop.token());
  mesh.world.run_for(3s);
  mesh.describe("somebody-else", {ip("10.0.0.5")}, "node-a");
  mesh.publish();
  mesh.world.run_for(1s);
  CHECK(!first.done);
  mesh.describe("late", {ip("10.0.0.4")}, "node-a");
  mesh.publish();
  REQUIRE(mesh.world.run_until([&] { return first.reply == "early"; }));

  mesh.objects.workloads.pop_back();
  auto& nobody = mesh.add_pod_host("nobody", {ip("10.0.0.6")});
  mesh.start(mesh.a, "nobody", nobody);
  mesh.publish();
  const auto begun = mesh.world.clock().monotonic();
  CHECK(mesh.ask(nobody).error);
  CHECK(mesh.world.clock().monotonic() - begun >= 5s);
  CHECK(mesh.world.clock().monotonic() - begun < 6s);
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
}

TEST_CASE("a renewed certificate is used for new tunnels, open ones go on") {
  Seen staying;
  StopSource stop;
  MeshWorld mesh;
  mesh.ask_and_stay(*mesh.pod_a, "a", staying, stop.token());
  REQUIRE(mesh.world.run_until([&] { return staying.reply == "a"; }));
  const auto asked = mesh.source.asked.size();
  mesh.world.run_for(13h);  // certificates of a day, one hour old
  CHECK(mesh.source.asked.size() > asked);
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
  CHECK(!staying.done);
  CHECK(mesh.count("istio_tcp_sockets_open", "reporter=\"destination\"") == 2);
}

TEST_CASE(
    "a connection made while its destination joins or leaves the mesh finds its way; one to a dead end fails, counted "
    "once") {
  Seen seen;
  StopSource stop;
  MeshWorld mesh;
  mesh.stop("cart");
  mesh.pod_b->redirect_input([](const sim::Flow&) { return std::optional<std::uint16_t>(); });
  mesh.ask_and_stay(*mesh.pod_a, "hello", seen, stop.token());
  mesh.world.run_for(30ms);
  REQUIRE_FALSE(seen.done);
  bool through = true;
  SECTION("it joins: its proxy starts") { mesh.start(mesh.b, "cart", *mesh.pod_b); }
  SECTION("it leaves: the mesh says that it speaks plain TCP") {
    mesh.objects.workloads.back().protocol = model::TunnelProtocol::kNone;
    mesh.publish();
  }
  SECTION("nothing changes") { through = false; }
  REQUIRE(mesh.world.run_until([&] { return seen.done || !seen.reply.empty(); }));
  CHECK(seen.done != through);
  CHECK(seen.reply == (through ? "hello" : ""));
  CHECK(mesh.count("istio_tcp_connections_opened_total", "reporter=\"source\"") == 1);
  CHECK(mesh.count("istio_tcp_connections_failed_total") == (through ? 0 : 1));
}

TEST_CASE("many seeds: bytes arrive whole or the connection fails, whatever the network does") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    INFO("seed " << seed);
    MeshWorld mesh(seed);
    mesh.internet.faults().short_read = mesh.internet.faults().short_write = 0.3;
    mesh.internet.faults().reset = 0.005;
    mesh.internet.faults().refuse = 0.05;
    const std::string text(100'000, static_cast<char>('a' + seed % 26));
    for (int i = 0; i < 4; ++i) {
      const auto seen = mesh.ask(*mesh.pod_a, text);
      if (!seen.error) CHECK(seen.reply == text);
    }
    mesh.internet.faults() = {};
    mesh.world.run_for(1min);
    CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
  }
}
