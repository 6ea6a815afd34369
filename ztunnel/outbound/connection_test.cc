// Where a pod's connections go, end to end: the decision is lib/model/route's, here its hops are dialled.
#include <catch2/catch_test_macros.hpp>

#include "ztunnel/test_mesh.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;

TEST_CASE("pod to pod goes through one tunnel, keeps the caller's address and is counted as mutual TLS at both ends") {
  MeshWorld mesh;
  const std::string big(300'000, 'x');
  CHECK(mesh.ask(*mesh.pod_a, big).reply == big);
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
  REQUIRE(mesh.callers().size() == 2);
  CHECK(mesh.callers()[0].ip() == ip("10.0.0.1"));
  CHECK(mesh.count("istio_tcp_connections_opened_total", "reporter=\"source\"") == 2);
  CHECK(mesh.count("istio_tcp_connections_opened_total", "connection_security_policy=\"mutual_tls\"") == 4);
  CHECK(mesh.count("istio_tcp_received_bytes_total", "reporter=\"destination\"") == big.size() + 5);
  // One TLS connection carried both.
  CHECK(mesh.count("istio_tcp_sockets_open", "reporter=\"destination\"") == 1);
  CHECK(mesh.count("istio_tcp_connections_closed_total", "response_flags=\"-\"") == 4);
  CHECK(mesh.count("istio_tcp_connections_failed_total") == 0);
}

TEST_CASE("pods of one node talk through a tunnel as well") {
  MeshWorld mesh;
  auto& host = mesh.add_pod_host("near", {ip("10.0.0.4")});
  mesh.describe("near", {ip("10.0.0.4")}, "node-a");
  mesh.publish();
  mesh.start(mesh.a, "near", host);
  mesh.serve(host, 8080);
  CHECK(mesh.ask(*mesh.pod_a, "hello", at("10.0.0.4:8080")).reply == "hello");
  CHECK(mesh.count("istio_tcp_connections_opened_total", "connection_security_policy=\"mutual_tls\"") == 2);
}

TEST_CASE("an address the mesh does not know, or knows without a tunnel, is dialled as it is") {
  MeshWorld mesh;
  auto& outside = mesh.serve(*mesh.stranger, 9);
  CHECK(mesh.ask(*mesh.pod_a, "x", at("10.0.0.3:9")).reply == "x");
  CHECK(outside.callers.at(0).ip() == ip("10.0.0.1"));
  CHECK(mesh.count("istio_tcp_connections_opened_total", "destination_workload=\"unknown\"") == 1);
  mesh.describe("plain", {ip("10.0.0.3")}, "node-b")->protocol = model::TunnelProtocol::kNone;
  mesh.publish();
  CHECK(mesh.ask(*mesh.pod_a, "x", at("10.0.0.3:9")).reply == "x");
  CHECK(mesh.count("istio_tcp_connections_opened_total", "destination_workload=\"plain\"") == 1);
  CHECK(mesh.count("istio_tcp_connections_opened_total", "connection_security_policy=\"mutual_tls\"") == 0);
}

TEST_CASE("a refused destination is a reset for the caller and a failed connection") {
  MeshWorld mesh;
  const auto refused = mesh.ask(*mesh.pod_a, "x", at("10.0.0.3:9"));
  REQUIRE(refused.error);
  CHECK(refused.error->code() == ErrorCode::kReset);
  CHECK(mesh.count("istio_tcp_connections_failed_total", "response_flags=\"CONNECT\"") == 1);
}

TEST_CASE("a workload of another network that is named by its address is none, and passes through") {
  MeshWorld mesh;
  mesh.describe("remote", {ip("10.0.0.3")}, "node-z")->network = "far";
  mesh.publish();
  auto& outside = mesh.serve(*mesh.stranger, 9);
  CHECK(mesh.ask(*mesh.pod_a, "x", at("10.0.0.3:9")).reply == "x");
  CHECK(outside.callers.size() == 1);
  CHECK(mesh.count("istio_tcp_connections_opened_total", "destination_workload=\"unknown\"") == 1);
}

TEST_CASE("a tunnel to an address with another identity is not made") {
  MeshWorld mesh;
  mesh.describe("ghost", {ip("10.0.0.2")}, "node-b");  // the mesh expects another pod there
  mesh.publish();
  const auto refused = mesh.ask(*mesh.pod_a);
  REQUIRE(refused.error);
  CHECK(mesh.callers().empty());
  CHECK(mesh.count("istio_tcp_connections_failed_total", "response_flags=\"CONNECT\"") == 1);
  mesh.objects.workloads.pop_back();
  mesh.publish();
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
}

TEST_CASE("a tunnel port that never answers is counted as a network policy's doing") {
  MeshWorld mesh;
  mesh.add_silent_host("mute", {ip("10.0.0.8")}, kHbonePort);
  mesh.describe("mute", {ip("10.0.0.8")}, "node-z");
  mesh.publish();
  CHECK(mesh.ask(*mesh.pod_a, "x", at("10.0.0.8:80")).error);
  CHECK(mesh.count("istio_tcp_connections_failed_total", "response_flags=\"NETWORK_POLICY\"") == 1);
}

TEST_CASE("a service reaches an endpoint in a tunnel and one without, and tells them apart") {
  MeshWorld mesh;
  mesh.serve(*mesh.stranger, 8080);
  mesh.describe("plain", {ip("10.0.0.3")}, "node-z")->protocol = model::TunnelProtocol::kNone;
  auto* web = mesh.describe_service("web", "10.96.0.1", {{80, 8080}});
  MeshWorld::join(mesh.objects.workloads[1], *web, {{80, 8080}});
  MeshWorld::join(mesh.objects.workloads[2], *web, {{80, 8080}});
  mesh.publish();
  for (int i = 0; i < 50; ++i) REQUIRE(mesh.ask(*mesh.pod_a, "hello", at("10.96.0.1:80")).reply == "hello");
  const auto secured = mesh.count("istio_tcp_connections_opened_total{reporter=\"source\"", "policy=\"mutual_tls\"");
  const auto plain = mesh.count("istio_tcp_connections_opened_total{reporter=\"source\"", "policy=\"unknown\"");
  CHECK(secured > 0);
  CHECK(plain > 0);
  CHECK(secured + plain == 50);
  CHECK(mesh.count("istio_tcp_connections_opened_total{reporter=\"source\"", "destination_service_name=\"web\"") == 50);
}

TEST_CASE("a service without endpoints is refused, a passthrough service goes where it was dialled") {
  MeshWorld mesh;
  auto* web = mesh.describe_service("web", "10.96.0.1", {{80, 8080}});
  mesh.publish();
  CHECK(mesh.ask(*mesh.pod_a, "x", at("10.96.0.1:80")).error);
  CHECK(mesh.count("istio_tcp_connections_opened_total") == 0);
  web->load_balancing = model::LoadBalancing{{}, model::LoadBalancingMode::kPassthrough, model::HealthPolicy::kOnlyHealthy};
  mesh.publish();
  auto& owner = mesh.add_host("owner", {ip("10.96.0.1")});
  mesh.serve(owner, 80);
  CHECK(mesh.ask(*mesh.pod_a, "x", at("10.96.0.1:80")).reply == "x");
}

TEST_CASE("an IPv6 address of a service leads to the endpoint's IPv6 address") {
  MeshWorld mesh;
  auto* web = mesh.describe_service("web", "fd96::1", {{80, 8080}});
  MeshWorld::join(mesh.objects.workloads[1], *web, {{80, 8080}});
  mesh.objects.workloads[0].addresses.push_back(ip("fd00::1"));
  mesh.pod_a->add_address(ip("fd00::1"));
  mesh.publish();
  CHECK(mesh.ask(*mesh.pod_a, "hello", at("[fd96::1]:80")).reply == "hello");
  CHECK(mesh.callers().at(0).ip() == ip("fd00::1"));
}

namespace {

// cart behind a waypoint at 10.0.0.9, which is a peer that says back what it hears.
struct Waypointed : MeshWorld {
  Waypointed() {
    auto& host = add_host("waypoint", {ip("10.0.0.9")});
    describe("waypoint", {ip("10.0.0.9")}, "node-z");
    peer = &serve_tunnels(host, kHbonePort, identity_of("waypoint"));
    auto* web = describe_service("web", "10.96.0.1", {{80, 8080}});
    join(objects.workloads[1], *web, {{80, 8080}});
    describe_service("waypoint", "10.96.0.9", {{15008, 15008}});
    join(objects.workloads[2], objects.services[1], {{15008, 15008}});
  }
  model::Workload& cart() { return objects.workloads[1]; }
  model::Service& web() { return objects.services[0]; }
  static model::GatewayAddress by_address(const char* text) { return {model::NetworkAddress{"", ip(text)}, 15008}; }
  static model::GatewayAddress by_name(const std::string& host) { return {model::NamespacedHostname{"shop", host}, 15008}; }
  FakePeer* peer;
};

}  // namespace

TEST_CASE("a workload's waypoint, by address, by service name and by workload name, gets the pod's address to go to") {
  Waypointed mesh;
  mesh.objects.workloads[2].hostname = "waypoint.example";
  for (const auto& waypoint :
       {Waypointed::by_address("10.0.0.9"), Waypointed::by_address("10.96.0.9"),
        Waypointed::by_name("waypoint.shop.svc.cluster.local"), Waypointed::by_name("waypoint.example")}) {
    mesh.cart().waypoint = waypoint;
    mesh.publish();
    mesh.peer->requests.clear();
    CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
    REQUIRE(mesh.peer->requests.size() == 1);
    CHECK(mesh.peer->requests[0].authority == "10.0.0.2:8080");
    CHECK(mesh.peer->requests[0].service_host.empty());
    CHECK(mesh.peer->requests[0].forwarded_network.empty());
  }
  CHECK(mesh.callers().empty());
  CHECK(mesh.count("istio_tcp_connections_opened_total", "destination_workload=\"waypoint\"") == 4);
}

TEST_CASE("a service's waypoint gets the service's address and name; the pod dialled by address is reached without it") {
  Waypointed mesh;
  mesh.web().waypoint = Waypointed::by_address("10.96.0.9");
  mesh.publish();
  CHECK(mesh.ask(*mesh.pod_a, "hello", at("10.96.0.1:80")).reply == "hello");
  REQUIRE(mesh.peer->requests.size() == 1);
  CHECK(mesh.peer->requests[0].authority == "10.96.0.1:80");
  CHECK(mesh.peer->requests[0].service_host == "web.shop.svc.cluster.local");
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
  CHECK(mesh.peer->requests.size() == 1);
  CHECK(mesh.callers().size() == 1);
  // The waypoint counts for a service that is not balanced, too.
  mesh.web().load_balancing = model::LoadBalancing{{}, model::LoadBalancingMode::kPassthrough, {}};
  mesh.publish();
  CHECK(mesh.ask(*mesh.pod_a, "hello", at("10.96.0.1:80")).reply == "hello");
  CHECK(mesh.peer->requests.size() == 2);
}

TEST_CASE("a peer that does not speak HTTP/2 fails the connection, which is counted as that") {
  Waypointed mesh;
  mesh.cart().waypoint = Waypointed::by_address("10.0.0.9");
  mesh.publish();
  mesh.peer->instead = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
  CHECK(mesh.ask(*mesh.pod_a).error);
  CHECK(mesh.count("istio_tcp_connections_failed_total", "response_flags=\"H2_HANDSHAKE_FAILURE\"") == 1);
  mesh.peer->instead.clear();
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
}

TEST_CASE("a tunnel that is never answered is given up, one that is answered late is served") {
  Waypointed mesh;
  mesh.cart().waypoint = Waypointed::by_address("10.0.0.9");
  mesh.publish();
  mesh.peer->answers_after = hbone::kAnswerTimeout - 1s;
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
  const auto used = mesh.limits.descriptors.used();
  CHECK(used == 1);  // the connection to the peer
  mesh.peer->answers_after = 24h;
  const auto begun = mesh.world.clock().monotonic();
  const auto given_up = mesh.ask(*mesh.pod_a);
  REQUIRE(given_up.error);
  CHECK(given_up.error->code() == ErrorCode::kReset);
  CHECK(mesh.world.clock().monotonic() - begun < hbone::kAnswerTimeout + 1s);
  CHECK(mesh.peer->taken_back == 1);
  CHECK(mesh.limits.descriptors.used() == used);
  CHECK(mesh.count("istio_tcp_connections_failed_total", "response_flags=\"CONNECT\"") == 1);
  CHECK(mesh.count("istio_tcp_connections_failed_total") == 1);
  mesh.peer->answers_after = {};
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
  CHECK(mesh.peer->connections == 1);
}

TEST_CASE("TLS that cannot be set up fails the connection, which is counted as that") {
  if (tls::post_quantum_available()) SKIP("this OpenSSL has everything that can be asked for");
  auto settings = MeshWorld::make_settings();
  settings.post_quantum_only = true;
  MeshWorld mesh(1, settings);
  CHECK(mesh.ask(*mesh.pod_a).error);
  CHECK(mesh.count("istio_tcp_connections_failed_total", "response_flags=\"TLS_FAILURE\"") == 1);
}

TEST_CASE("a waypoint that cannot be found refuses, and does not let traffic past it") {
  Waypointed mesh;
  mesh.cart().waypoint = Waypointed::by_name("nowhere.example");
  mesh.publish();
  CHECK(mesh.ask(*mesh.pod_a).error);
  CHECK(mesh.callers().empty());
  mesh.cart().waypoint.reset();
  mesh.publish();
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
}

TEST_CASE("a destination that only a gateway to another network reaches is refused") {
  MeshWorld mesh;
  auto* remote = mesh.describe("remote", {}, "node-z");
  remote->network = "far";
  remote->network_gateway = model::GatewayAddress{model::NetworkAddress{"", ip("10.0.0.3")}, 15008};
  auto* web = mesh.describe_service("web", "10.96.0.1", {{80, 8080}});
  MeshWorld::join(mesh.objects.workloads[2], *web, {{80, 8080}});
  mesh.publish();
  CHECK(mesh.ask(*mesh.pod_a, "x", at("10.96.0.1:80")).error);
  CHECK(mesh.count("istio_tcp_connections_opened_total") == 0);
  // With an endpoint near, and the network preferred, that one is taken.
  MeshWorld::join(mesh.objects.workloads[1], *web, {{80, 8080}});
  web->load_balancing = model::LoadBalancing{
      {model::LocalityScope::kNetwork}, model::LoadBalancingMode::kFailover, model::HealthPolicy::kOnlyHealthy};
  mesh.publish();
  for (int i = 0; i < 10; ++i) CHECK(mesh.ask(*mesh.pod_a, "x", at("10.96.0.1:80")).reply == "x");
}

TEST_CASE("loopback with a port of ours is refused, as a call to ourselves") {
  MeshWorld mesh;
  // A rule that captures loopback traffic, as no agent writes it.
  mesh.pod_a->redirect_output([](const sim::Flow& flow) -> std::optional<std::uint16_t> {
    if (flow.mark == 1337) return std::nullopt;
    return kOutboundPort;
  });
  mesh.serve(*mesh.pod_a, 9000);
  for (const auto port : {kOutboundPort, kInboundPlaintextPort, kHbonePort})
    CHECK(mesh.ask(*mesh.pod_a, "x", {IpAddress::loopback(false), port}).error);
  CHECK(mesh.count("istio_tcp_connections_opened_total") == 0);
  CHECK(mesh.ask(*mesh.pod_a, "x", {IpAddress::loopback(false), 9000}).reply == "x");
}

TEST_CASE("a tunnel's connection is an open file of its pod for as long as it is kept, and is not made without one") {
  std::vector<std::unique_ptr<Seen>> outside;  // written by tasks of the world
  Settings settings = MeshWorld::make_settings();
  settings.pod_descriptors = 1;  // percent
  MeshWorld mesh(1, settings);
  const auto used = [&mesh] { return mesh.limits.descriptors.used(); };
  REQUIRE(mesh.limits.descriptors.pod_max() == 7);
  mesh.serve(*mesh.stranger, 9);
  StopSource stop;
  for (int i = 0; i < 3; ++i) {
    outside.push_back(std::make_unique<Seen>());
    mesh.ask_and_stay(*mesh.pod_a, "x", *outside.back(), stop.token(), at("10.0.0.3:9"));
  }
  mesh.world.run_for(1s);
  CHECK(used() == 6);
  CHECK(mesh.ask(*mesh.pod_a).error);
  CHECK(used() == 6);
  CHECK(mesh.count("weft_limits_exceeded_total", "\"pod_descriptors\"") == 1);
  CHECK(mesh.count("istio_tcp_connections_failed_total", "response_flags=\"CONNECT\"") == 1);
  stop.request_stop();
  REQUIRE(mesh.world.run_until([&] { return used() == 0; }));
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
  CHECK(used() == 2);  // the connection's two ends
  mesh.world.run_for(settings.pool_unused_release_timeout * 2);
  CHECK(used() == 0);
}
