#include "lib/manifest/local_config.h"

#include <catch2/catch_test_macros.hpp>

namespace weft::manifest {
namespace {

using namespace model;

constexpr std::string_view kExample = R"(
workloads:
- uid: cluster1//v1/Pod/shop/web-0
  name: web-0
  namespace: shop
  serviceAccount: web
  trustDomain: cluster.local
  workloadIps: ["10.1.0.7", "fd00::7"]
  protocol: HBONE
  node: node-a
  network: ""
  services:
    "shop/web.shop.svc.cluster.local": {80: 8080}
  applicationTunnel: {protocol: PROXY, port: 15088}
  waypoint: {destination: "/10.0.0.1", hboneMtlsPort: 15008}
  networkGateway: {destination: "gw/east.example", hboneMtlsPort: 15009}
  authorizationPolicies: [shop/only-frontends]
  status: Unhealthy
  locality: {region: r, zone: z, subzone: s}
  capacity: 3
services:
- name: web
  namespace: shop
  hostname: web.shop.svc.cluster.local
  vips: ["/10.96.4.4", "remote/10.96.4.5"]
  cidrVips: [{network: "", cidr: 10.97.0.0/16}]
  ports: {80: 8080, 81: 0}
  endpoints:
    a: {workloadUid: a, port: {80: 1}}
  loadBalancer: {routingPreferences: [Network, Zone], mode: Failover, healthPolicy: AllowAll}
  weightedWaypoints: [{destination: {destination: "shop/wp", hboneMtlsPort: 1}, weight: 9}]
  ipFamilies: IPv4
  canonical: true
  visibility: Namespace
policies:
- name: only-frontends
  namespace: shop
  scope: Namespace
  action: Allow
  dryRun: false
  rules:
  - - - principals: [{Prefix: "cluster.local/ns/front/"}, {Presence: []}]
    - - destinationPorts: [8080]
        notSourceIps: [10.0.0.0/8]
        serviceAccounts: [{namespace: a, serviceAccount: b}]
)";

TEST_CASE("a local configuration gives workloads, services and policies") {
  auto parsed = parse_local_config(kExample);
  INFO((parsed ? "" : parsed.error().message()));
  REQUIRE(parsed);
  REQUIRE(parsed->workloads.size() == 1);
  const auto& workload = parsed->workloads[0];
  CHECK(workload.identity().to_string() == "spiffe://cluster.local/ns/shop/sa/web");
  CHECK(workload.addresses.size() == 2);
  CHECK(workload.protocol == TunnelProtocol::kHbone);
  CHECK(workload.services.at("shop/web.shop.svc.cluster.local") == PortMap{{80, 8080}});
  CHECK(workload.application_tunnel == ApplicationTunnel{true, 15088});
  CHECK(workload.waypoint == GatewayAddress{NetworkAddress{"", *IpAddress::parse("10.0.0.1")}, 15008});
  CHECK(workload.network_gateway == GatewayAddress{NamespacedHostname{"gw", "east.example"}, 15009});
  CHECK(workload.status == HealthStatus::kUnhealthy);
  CHECK(workload.locality == Locality{"r", "z", "s"});
  CHECK(workload.capacity == 3);
  REQUIRE(parsed->services.size() == 1);
  const auto& service = parsed->services[0];
  CHECK(service.vips[1] == NetworkAddress{"remote", *IpAddress::parse("10.96.4.5")});
  CHECK(service.cidr_vips.size() == 1);
  CHECK(service.ports == PortMap{{80, 8080}, {81, 0}});
  CHECK(service.endpoints.at("a").ports == PortMap{{80, 1}});
  CHECK(service.load_balancing->mode == LoadBalancingMode::kFailover);
  CHECK(service.weighted_waypoints.at(0).weight == 9);
  CHECK(service.ip_families == IpFamilies::kIpv4Only);
  CHECK(service.canonical);
  CHECK(service.visibility == Visibility::kNamespace);
  REQUIRE(parsed->policies.size() == 1);
  const auto& rules = parsed->policies[0].rules;
  REQUIRE(rules.size() == 1);
  REQUIRE(rules[0].size() == 2);
  CHECK(rules[0][0][0].principals[0] == StringMatch{StringMatch::Kind::kPrefix, "cluster.local/ns/front/"});
  CHECK(rules[0][0][0].principals[1].kind == StringMatch::Kind::kPresence);
  CHECK(rules[0][1][0].destination_ports == std::vector<std::uint16_t>{8080});
  CHECK(rules[0][1][0].service_accounts[0] == ServiceAccountMatch{"a", "b"});
}

TEST_CASE("absent fields of a local workload stay empty") {
  auto parsed = parse_local_config("workloads: [{namespace: a, workloadIps: [], services: {}}]");
  REQUIRE(parsed);
  Workload expected;
  expected.namespace_name = "a";
  CHECK(parsed->workloads.at(0) == expected);
}

TEST_CASE("an empty local configuration is an empty mesh") {
  for (auto text : {"", "# nothing\n", "workloads: []\n", "{}"}) {
    INFO(text);
    auto parsed = parse_local_config(text);
    REQUIRE(parsed);
    CHECK(parsed->workloads.empty());
  }
}

TEST_CASE("a local configuration with any mistake is refused with its place") {
  struct Row {
    std::string_view text, message;
  };
  const Row rows[] = {
      {"[]", "expected a map"},
      {"a", "expected a map"},
      {"workload: []", "unknown field \"workload\""},
      {"workloads: {}", "expected a list"},
      {"workloads: [1]", "expected a map"},
      {"workloads: [{workloadIps: [], services: {}}]", "missing field \"namespace\""},
      {"workloads: [{namespace: a, workloadIps: [x], services: {}}]", "workloads[0].workloadIps[0]: expected an IP address"},
      {"workloads: [{namespace: a, workloadIps: [], services: {}, Name: b}]", "unknown field \"Name\""},
      {"workloads: [{namespace: a, workloadIps: [], services: {}, protocol: hbone}]", "expected one of TCP, HBONE"},
      {"workloads: [{namespace: a, workloadIps: [], services: {x/y: {80: 70000}}}]", "whole number"},
      {"workloads: [{namespace: a, workloadIps: [], services: {x/y: {http: 80}}}]", "port number"},
      {"workloads: [{namespace: a, workloadIps: [], services: {}, capacity: -1}]", "whole number"},
      {"workloads: [{namespace: a, workloadIps: [], services: {}, waypoint: {destination: x, hboneMtlsPort: 1}}]",
       "network/IP"},
      {"services: [{name: a, namespace: b, hostname: c, vips: [10.0.0.1], ports: {}}]", "network/IP"},
      {"policies: [{name: a, namespace: b, scope: Global, action: Audit, rules: [], dryRun: false}]", "Allow, Deny"},
      {"policies: [{name: a, namespace: b, scope: Global, action: Deny, rules: []}]", "dryRun"},
      {"policies: [{name: a, namespace: b, scope: Global, action: Deny, rules: [{}], dryRun: false}]", "expected a list"},
      {"policies: [{name: a, namespace: b, scope: Global, action: Deny, rules: [[[{sourceIps: [x]}]]], dryRun: false}]",
       "address block"},
      {"policies: [{name: a, namespace: b, scope: Global, action: Deny, rules: [[[{paths: [x]}]]], dryRun: false}]",
       "unknown field \"paths\""},
      {"policies: [{name: a, namespace: b, scope: Global, action: Deny, rules: [[[{principals: [x]}]]], dryRun: false}]",
       "Exact, Prefix"},
      {"workloads: [", "line"},
      {"a: 1\n---\nb: 2", "one document"},
  };
  for (const auto& row : rows) {
    INFO(row.text);
    auto parsed = parse_local_config(row.text);
    REQUIRE_FALSE(parsed);
    INFO(parsed.error().message());
    CHECK(parsed.error().code() == ErrorCode::kInvalidArgument);
    CHECK(parsed.error().message().find(row.message) != std::string::npos);
  }
}

}  // namespace
}  // namespace weft::manifest
