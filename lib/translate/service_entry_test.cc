#include <catch2/catch_test_macros.hpp>

#include "lib/translate/test_mesh.h"

using namespace weft;
using namespace weft::translate;
using namespace weft::translate::testing;

TEST_CASE("addresses allocated for one host of a service entry are not another's") {
  const auto mesh = make_mesh(R"(
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: two, namespace: shop}
spec: {hosts: [a.example.com, b.example.com, "*.example.com"], resolution: DNS, ports: [{name: a, number: 80, protocol: HTTP}]}
status: {addresses: [{host: a.example.com, value: 240.240.0.1}, {host: b.example.com, value: 240.240.0.2}, {value: 240.240.0.3}]}
)");
  std::map<std::string, std::string> given;
  for (const auto& service : mesh.output.services) {
    for (const auto& vip : service.vips) given[service.hostname] += vip.ip.to_string() + " ";
  }
  CHECK(given == std::map<std::string, std::string>{{"a.example.com", "240.240.0.1 240.240.0.3 "},
                                                    {"b.example.com", "240.240.0.2 240.240.0.3 "}});
}

TEST_CASE("a service entry that another service of its namespace overrides brings no endpoints into it") {
  const auto mesh = make_mesh(R"(
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: db}, ports: [{name: tcp, port: 5432}]}
---
apiVersion: v1
kind: Pod
metadata: {name: impostor, namespace: shop, labels: {app: impostor}}
status: {podIP: 10.0.0.66}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: grab, namespace: shop}
spec:
  hosts: [db.shop.svc.cluster.local, own.example.com]
  resolution: STATIC
  ports: [{name: tcp, number: 5432, protocol: TCP}]
  endpoints: [{address: 192.0.2.66}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: select, namespace: shop}
spec:
  hosts: [db.shop.svc.cluster.local]
  resolution: STATIC
  ports: [{name: tcp, number: 5432, protocol: TCP}]
  workloadSelector: {labels: {app: impostor}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: nothing-left, namespace: shop}
spec:
  hosts: [db.shop.svc.cluster.local]
  resolution: STATIC
  ports: [{name: tcp, number: 5432, protocol: TCP}]
  endpoints: [{address: 192.0.2.67}]
)");
  for (const auto& workload : mesh.output.workloads) {
    CAPTURE(workload.uid);
    CHECK(!workload.services.contains("shop/db.shop.svc.cluster.local"));
  }
  REQUIRE(mesh.workload("grab"));
  CHECK(mesh.workload("grab")->services.contains("shop/own.example.com"));
  CHECK(!mesh.workload("nothing-left"));
  CHECK(mesh.condition("select", kFullyApplied, "Info"));
}

TEST_CASE("an endpoint has policies, names and tunnel of its service entry, and a waypoint of its own") {
  const auto mesh = make_mesh(R"(
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: shop, labels: {istio.io/waypoint-for: all}}
spec: {gatewayClassName: istio-waypoint}
status: {addresses: [{value: 10.0.0.50}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: by-entry, namespace: shop}
spec: {selector: {matchLabels: {kind: external}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: by-endpoint, namespace: shop}
spec: {selector: {matchLabels: {place: far}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop, labels: {kind: external, app: partner}, annotations: {ambient.istio.io/redirection: enabled}}
spec:
  hosts: [api.example.com]
  resolution: STATIC
  ports: [{name: a, number: 80, protocol: HTTP}]
  endpoints: [{address: 192.0.2.1, labels: {place: far, istio.io/use-waypoint: wp}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: moving, namespace: shop}
spec: {hosts: [moving.example.com], resolution: DYNAMIC_DNS, ports: [{name: a, number: 80, protocol: HTTP}]}
)");
  const auto* api = mesh.workload("api");
  REQUIRE(api);
  CHECK(api->authorization_policies == std::vector<std::string>{"shop/by-entry"});
  CHECK(api->workload_name == "api");
  CHECK(api->canonical_name == "partner");
  CHECK(api->protocol == model::TunnelProtocol::kHbone);
  CHECK(!api->native_tunnel);
  CHECK(api->waypoint.has_value());
  REQUIRE(mesh.workload("moving"));
  CHECK(mesh.workload("moving")->hostname == "moving.example.com");
}

TEST_CASE("a workload entry's own labels come before those of its specification") {
  const auto mesh = make_mesh(R"(
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: shop, labels: {app: own}}
spec: {address: 192.0.2.7, labels: {app: other, version: v2}}
)");
  CHECK(mesh.workload("vm")->canonical_name == "own");
  CHECK(mesh.workload("vm")->canonical_revision == "v2");
}

TEST_CASE("a waypoint's own pods take its binding and no waypoint") {
  auto mesh_with = [](const std::string& gateway, const std::string& gateway_class) {
    return make_mesh(R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/use-waypoint: other}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: sandwich, annotations: {)" +
                     gateway_class + R"(}}
spec: {controllerName: example.com/controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: shop, annotations: {)" +
                     gateway + R"(}}
spec: {gatewayClassName: sandwich}
status: {addresses: [{value: 10.0.0.50}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: other, namespace: shop, labels: {istio.io/waypoint-for: all}}
spec: {gatewayClassName: sandwich}
status: {addresses: [{value: 10.0.0.51}]}
---
apiVersion: v1
kind: Pod
metadata: {name: instance, namespace: shop, labels: {gateway.networking.k8s.io/gateway-name: wp}}
status: {podIP: 10.0.0.50}
---
apiVersion: v1
kind: Pod
metadata: {name: plain, namespace: shop}
status: {podIP: 10.0.0.60}
)");
  };
  const std::string key = "ambient.istio.io/waypoint-inbound-binding: ";
  struct Row {
    std::string gateway, gateway_class;
    std::optional<model::ApplicationTunnel> expected;
  };
  for (const auto& row :
       {Row{"", "", {}}, Row{key + "PROXY/15088", "", model::ApplicationTunnel{true, 15088}},
        Row{"", key + "PROXY", model::ApplicationTunnel{true, {}}},
        Row{key + "NONE", key + "PROXY", model::ApplicationTunnel{false, {}}}, Row{key + "PROXY/0", "", {}},
        Row{key + "PROXY/99999", "", {}}, Row{key + "SOCKS", "", {}}, Row{key + "PROXY/x", "", {}}}) {
    CAPTURE(row.gateway, row.gateway_class);
    const auto mesh = mesh_with(row.gateway, row.gateway_class);
    CHECK(mesh.workload("instance")->application_tunnel == row.expected);
    CHECK(!mesh.workload("instance")->waypoint);
    CHECK(mesh.workload("plain")->waypoint);
    CHECK(!mesh.workload("plain")->application_tunnel);
    const bool bad = !row.expected && !row.gateway.empty();
    CHECK((mesh.condition("wp", kFullyApplied, "InvalidValue") != nullptr) == bad);
  }
}
