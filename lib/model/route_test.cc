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

TEST_CASE("weights of waypoints are kept over many draws, and none is drawn of none") {
  Mesh m;
  m.more = {pod("b", "wp2", "10.0.0.10")};
  const GatewayAddress first{NetworkAddress{"", ip("10.0.0.9")}, 15008}, second{NetworkAddress{"", ip("10.0.0.10")}, 15008};
  auto hits = [&](std::uint32_t a, std::uint32_t b) {
    m.web.weighted_waypoints = {{first, a}, {second, b}};
    auto snapshot = m.snapshot();
    std::uint64_t tickets = 1, hit = 0;
    for (std::uint64_t i = 0; i < 100; ++i) {
      auto draw = [&](std::uint64_t below) {
        tickets = below;
        return i % below;
      };
      auto route = choose_route(*snapshot, m.client, ip("10.0.0.1"), at("10.96.0.1:80"), 15008, draw);
      REQUIRE(route);
      hit += route->hop == at("10.0.0.9:15008");
    }
    return hit;
  };
  CHECK(hits(100, 0) == 100);
  CHECK(hits(0, 100) == 0);
  CHECK(hits(70, 30) == 70);
  m.web.weighted_waypoints = {{first, 0}, {second, 0}};
  CHECK(m.route("10.96.0.1:80")->hop_kind == HopKind::kWorkload);
  m.web.weighted_waypoints.clear();
  CHECK(m.route("10.96.0.1:80")->hop_kind == HopKind::kWorkload);
}

TEST_CASE("a gateway is found by address, by name, as a service, and in the family of the client") {
  Mesh m;
  m.backend.network = "remote";
  auto east = pod("gw", "east", "10.0.9.9");
  east.addresses.push_back(ip("fd09::9"));
  east.hostname = "east.example";
  m.more = {east};
  for (const auto& gateway : {GatewayAddress{NetworkAddress{"", ip("10.0.9.9")}, 15009},
                              GatewayAddress{NamespacedHostname{"gw", "east.example"}, 15009}}) {
    m.backend.network_gateway = gateway;
    auto route = m.route("10.96.0.1:80");
    REQUIRE(route);
    CHECK(route->kind == RouteKind::kDoubleHbone);
    CHECK(route->hop == at("10.0.9.9:15009"));
    CHECK(route->authority == m.web.hostname + ":80");
  }
  m.web.vips.push_back({"", ip("fd96::1")});
  CHECK(m.route("[fd96::1]:80")->hop == at("[fd09::9]:15009"));
}

TEST_CASE("with the network preferred first the far endpoint is taken when no near one is left") {
  Mesh m;
  auto far = pod("b", "far", "");
  far.network = "remote";
  far.network_gateway = GatewayAddress{NetworkAddress{"", ip("10.0.9.9")}, 15009};
  join(far, m.web);
  m.more = {far, pod("gw", "east", "10.0.9.9")};
  m.web.load_balancing = LoadBalancing{{LocalityScope::kNetwork}, LoadBalancingMode::kFailover, HealthPolicy::kOnlyHealthy};
  for (const auto& draw : {kFirst, kLast}) CHECK(m.route("10.96.0.1:80", draw)->kind == RouteKind::kHbone);
  m.backend.status = HealthStatus::kUnhealthy;
  CHECK(m.route("10.96.0.1:80")->kind == RouteKind::kDoubleHbone);
  m.backend.services.clear();
  CHECK(m.route("10.96.0.1:80")->kind == RouteKind::kDoubleHbone);
}

TEST_CASE("a workload of another network, addressed directly, is none") {
  Mesh m;
  auto far = pod("b", "far", "10.7.0.1");
  far.network = "remote";
  m.more = {far};
  auto route = m.route("10.7.0.1:80");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kPassthrough);
}

TEST_CASE("a workload in the host's network is reached through its service, not by the address it shares") {
  Mesh m;
  auto daemon = pod("b", "daemon", "10.0.0.1");  // the client's node has one address for several
  daemon.network_mode = NetworkMode::kHostNetwork;
  daemon.protocol = TunnelProtocol::kNone;
  auto other = daemon;
  other.uid += "-2";
  other.name = "other";
  m.backend.services.clear();
  join(daemon, m.web);
  m.more = {daemon, other};
  auto route = m.route("10.96.0.1:80");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kTcp);
  CHECK(route->hop == at("10.0.0.1:8080"));
  CHECK(route->destination->name == "daemon");
  CHECK(m.route("10.0.0.1:80")->destination->name == "client");
}

TEST_CASE("a service that is not balanced goes to its original destination, unless it has a waypoint") {
  Mesh m;
  m.web.load_balancing = LoadBalancing{{}, LoadBalancingMode::kPassthrough, HealthPolicy::kOnlyHealthy};
  CHECK(m.route("10.96.0.1:80")->kind == RouteKind::kPassthrough);
  m.web.waypoint = by_name(m.waypoint);
  CHECK(m.route("10.96.0.1:80")->hop == at("10.0.0.9:15008"));
}

}  // namespace
}  // namespace weft::model
