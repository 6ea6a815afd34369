#include "lib/translate/namespaces.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/translate/test_mesh.h"

using namespace weft;
using namespace weft::translate;

namespace {

const std::string kNamespace = R"(apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: wp, istio.io/use-waypoint-namespace: edge}
  annotations: {networking.istio.io/traffic-distribution: PreferClose}
---
)";
// Takes in the clients of namespaces with a label.
const std::string kWaypoint = R"(apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: edge, labels: {istio.io/waypoint-for: all}}
spec:
  gatewayClassName: istio-waypoint
  listeners:
  - name: mesh
    port: 15008
    protocol: HBONE
    allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {istio.io/dataplane-mode: ambient}}}}
status: {addresses: [{type: IPAddress, value: 10.1.0.1}]}
---
)";
const std::string kService = R"(apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {clusterIP: 10.2.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}
---
)";

std::string pod(const std::string& name) {
  return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name +
         ", namespace: shop, labels: {app: web}}\nspec: {nodeName: n1}\nstatus: {phase: Running, podIP: 10.0.0.9}\n---\n";
}

Output translated(const std::string& yaml, const Output* before = nullptr) {
  return translate::translate(manifest::parse(yaml, "mesh.yaml").objects, {}, before);
}

// What the namespace decides of a pod and a service in it.
bool in_force(const Output& output) {
  const auto& workload = output.workloads.at(0);
  const auto& service = output.services.at(0);
  const bool enrolled = workload.protocol == model::TunnelProtocol::kHbone;
  CHECK(workload.waypoint.has_value() == enrolled);
  CHECK(service.waypoint.has_value() == enrolled);
  CHECK(service.load_balancing.has_value() == enrolled);
  return enrolled;
}

}  // namespace

TEST_CASE("a namespace whose object is gone decides as it did last") {
  const auto rest = kWaypoint + kService + pod("web");
  const auto described = translated(kNamespace + rest);
  CHECK(in_force(described));
  CHECK_FALSE(described.namespaces.at("shop").gone);
  // The control: a namespace that nobody ever described.
  CHECK_FALSE(in_force(translated(rest)));

  const auto gone = translated(rest, &described);
  CHECK(in_force(gone));
  CHECK(gone.namespaces.at("shop").gone);
  // However long it takes, and for pods that are new.
  CHECK(in_force(translated(kWaypoint + kService + pod("new"), &gone)));
  CHECK_FALSE(translated(kNamespace + rest, &gone).namespaces.at("shop").gone);
}

TEST_CASE("a Namespace object that is there counts at once, whatever was said before") {
  const auto rest = kWaypoint + kService + pod("web");
  const auto described = translated(kNamespace + rest);
  const auto plain = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n" + rest;
  const auto now = translated(plain, &described);
  CHECK_FALSE(in_force(now));
  CHECK_FALSE(in_force(translated(rest, &now)));
}

TEST_CASE("what a namespace said is forgotten with the last object in it") {
  const auto described = translated(kNamespace + kWaypoint + kService + pod("web"));
  const auto service_left = translated(kWaypoint + kService, &described);
  CHECK(service_left.namespaces.at("shop").gone);
  CHECK(service_left.services.at(0).waypoint.has_value());
  const auto empty = translated(kWaypoint, &service_left);
  CHECK_FALSE(empty.namespaces.contains("shop"));
  CHECK_FALSE(in_force(translated(kWaypoint + kService + pod("web"), &empty)));
  // One that is described is known without any.
  CHECK(translated(kNamespace).namespaces.contains("shop"));
}

TEST_CASE("of a namespace described several times the last object is remembered") {
  const auto rest = kWaypoint + kService + pod("web");
  const auto twice = translated("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n" + kNamespace + rest);
  CHECK(in_force(twice));
  CHECK(in_force(translated(rest, &twice)));
}
