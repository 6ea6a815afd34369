// Where a connection goes, as tables.
#include "lib/model/route.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/model/test_objects.h"

namespace weft::model {
namespace {

struct Mesh {
  Workload client = pod("a", "client", "10.0.0.1");
  Service web = service("b", "web", "10.96.0.1");
  Workload backend = pod("b", "backend", "10.0.0.2");
  Service waypoint = service("b", "waypoint", "10.96.0.9");
  Workload waypoint_pod = pod("b", "wp", "10.0.0.9");
  std::vector<Workload> more;

  Mesh() {
    waypoint.ports = {{15008, 15008}};
    join(backend, web);
    join(waypoint_pod, waypoint, {{15008, 15008}});
  }
  SnapshotPtr snapshot() const {
    MeshObjects objects{.workloads = {client, backend, waypoint_pod}, .services = {web, waypoint}};
    objects.workloads.insert(objects.workloads.end(), more.begin(), more.end());
    return mesh(std::move(objects));
  }
  Result<Route> route(std::string_view target, const Draw& draw = kFirst) const {
    return choose_route(*snapshot(), client, ip("10.0.0.1"), at(target), 15008, draw);
  }
  std::string error(std::string_view target) const {
    auto chosen = route(target);
    return chosen ? "" : chosen.error().message();
  }
};

TEST_CASE("an address the mesh does not know passes through") {
  auto route = Mesh{}.route("192.0.2.1:443");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kPassthrough);
  CHECK(route->hop == at("192.0.2.1:443"));
  CHECK_FALSE(route->destination);
  CHECK_FALSE(route->service);
}

TEST_CASE("a service leads to an endpoint, in a tunnel when that has one") {
  Mesh m;
  m.web.subject_alt_names = {"spiffe://cluster.local/ns/b/sa/extra", "not an identity"};
  auto route = m.route("10.96.0.1:80");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kHbone);
  CHECK(route->hop_kind == HopKind::kWorkload);
  CHECK(route->hop == at("10.0.0.2:15008"));
  CHECK(route->authority == "10.0.0.2:8080");
  CHECK(route->expected == std::vector<Identity>{{"cluster.local", "b", "backend"}, {"cluster.local", "b", "extra"}});
  CHECK(route->destination->name == "backend");
  CHECK(route->service->name == "web");
  m.backend.protocol = TunnelProtocol::kNone;
  route = m.route("10.96.0.1:80");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kTcp);
  CHECK(route->hop == at("10.0.0.2:8080"));
  CHECK(route->authority.empty());
}

TEST_CASE("a workload's address keeps its port") {
  auto route = Mesh{}.route("10.0.0.2:9");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kHbone);
  CHECK(route->hop == at("10.0.0.2:15008"));
  CHECK(route->authority == "10.0.0.2:9");
  CHECK_FALSE(route->service);
}

TEST_CASE("a service without a usable endpoint or with another port is an error, not a passthrough") {
  Mesh m;
  CHECK(m.error("10.96.0.1:81") == "no healthy upstream: 10.96.0.1:81");
  m.backend.services.clear();
  CHECK(m.error("10.96.0.1:80") == "no healthy upstream: 10.96.0.1:80");
  m.web.load_balancing = LoadBalancing{{}, LoadBalancingMode::kPassthrough, HealthPolicy::kOnlyHealthy};
  auto route = m.route("10.96.0.1:80");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kPassthrough);
}

TEST_CASE("a service with a waypoint goes through it with its own address as authority") {
  Mesh m;
  m.web.waypoint = by_name(m.waypoint);
  auto check = [&] {
    auto route = m.route("10.96.0.1:80");
    REQUIRE(route);
    CHECK(route->kind == RouteKind::kHbone);
    CHECK(route->hop_kind == HopKind::kWaypoint);
    CHECK(route->hop == at("10.0.0.9:15008"));
    CHECK(route->authority == "10.96.0.1:80");
    CHECK(route->expected == std::vector<Identity>{{"cluster.local", "b", "wp"}});
    CHECK(route->service->name == "web");
  };
  check();
  m.web.waypoint = GatewayAddress{NetworkAddress{"", ip("10.96.0.9")}, 15008};
  check();
  m.web.waypoint = GatewayAddress{NetworkAddress{"", ip("10.0.0.9")}, 15008};  // a workload by address
  check();
  m.waypoint_pod.hostname = "wp.example";
  m.web.waypoint = GatewayAddress{NamespacedHostname{"b", "wp.example"}, 15008};
  check();
}

TEST_CASE("a waypoint that is unknown, empty or in passthrough is an error") {
  Mesh m;
  m.web.waypoint = GatewayAddress{NamespacedHostname{"b", "nowhere"}, 15008};
  CHECK(m.error("10.96.0.1:80") == "unknown waypoint: waypoint b/nowhere not found");
  m.web.waypoint = by_name(m.waypoint);
  m.waypoint.load_balancing = LoadBalancing{{}, LoadBalancingMode::kPassthrough, HealthPolicy::kOnlyHealthy};
  CHECK(m.error("10.96.0.1:80").starts_with("unknown waypoint: "));
  m.waypoint.load_balancing.reset();
  m.waypoint_pod.services.clear();
  CHECK(m.error("10.96.0.1:80").starts_with("unknown waypoint: "));
}

TEST_CASE("weighted waypoints are drawn by weight and fall back to the plain one") {
  Mesh m;
  m.more = {pod("b", "wp2", "10.0.0.10")};
  m.web.waypoint = by_name(m.waypoint);
  m.web.weighted_waypoints = {{{NetworkAddress{"", ip("10.0.0.9")}, 15008}, 1},
                              {{NetworkAddress{"", ip("10.0.0.10")}, 15008}, 3}};
  CHECK(m.route("10.96.0.1:80", kFirst)->hop == at("10.0.0.9:15008"));
  CHECK(m.route("10.96.0.1:80", kLast)->hop == at("10.0.0.10:15008"));
  CHECK(m.route("10.96.0.1:80", [](std::uint64_t) { return std::uint64_t{1}; })->hop == at("10.0.0.10:15008"));
  for (auto& weighted : m.web.weighted_waypoints) weighted.weight = 0;
  CHECK(m.route("10.96.0.1:80", kLast)->hop == at("10.0.0.9:15008"));
}

TEST_CASE("a workload's waypoint carries traffic to its address, except from that waypoint") {
  Mesh m;
  m.backend.waypoint = by_name(m.waypoint);
  auto route = m.route("10.0.0.2:80");
  REQUIRE(route);
  CHECK(route->hop == at("10.0.0.9:15008"));
  CHECK(route->authority == "10.0.0.2:80");
  // Service-addressed traffic does not use it.
  CHECK(m.route("10.96.0.1:80")->hop == at("10.0.0.2:15008"));
  auto snapshot = m.snapshot();
  auto from = [&](const Workload& source, std::string_view client_ip) {
    return choose_route(*snapshot, source, ip(client_ip), at("10.0.0.2:80"), 15008, kFirst)->hop;
  };
  CHECK(from(m.waypoint_pod, "10.0.0.9") == at("10.0.0.2:15008"));
  CHECK(from(m.waypoint_pod, "10.0.0.8") == at("10.0.0.9:15008"));  // the identity alone is not enough
  auto impostor = m.client;
  impostor.addresses = m.waypoint_pod.addresses;
  CHECK(from(impostor, "10.0.0.9") == at("10.0.0.9:15008"));  // nor is the address
}

TEST_CASE("an endpoint of another network is reached through its gateway") {
  Mesh m;
  m.backend.network = "remote";
  m.web.subject_alt_names = {"spiffe://cluster.local/ns/b/sa/backend"};
  CHECK(m.error("10.96.0.1:80") == "no valid routing destination for workload: " + m.backend.uid);
  m.backend.network_gateway = GatewayAddress{NamespacedHostname{"gw", "nowhere"}, 15008};
  CHECK(m.error("10.96.0.1:80") == "unknown network gateway: network gateway gw/nowhere not found");
  m.more = {pod("gw", "east", "10.0.9.9")};
  m.backend.network_gateway = GatewayAddress{NetworkAddress{"", ip("10.0.9.9")}, 15009};
  auto route = m.route("10.96.0.1:80");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kDoubleHbone);
  CHECK(route->hop == at("10.0.9.9:15009"));
  CHECK(route->authority == m.web.hostname + ":80");
  CHECK(route->expected == std::vector<Identity>{{"cluster.local", "gw", "east"}});
  CHECK(route->inner_expected == std::vector<Identity>{{"cluster.local", "b", "backend"}});
}

TEST_CASE("an endpoint without a usable address is an error") {
  Mesh m;
  m.backend.addresses = {ip("fd00::2")};
  m.web.ip_families = IpFamilies::kIpv4Only;
  CHECK(m.error("10.96.0.1:80") == "no valid routing destination for workload: " + m.backend.uid);
}

}  // namespace
}  // namespace weft::model
