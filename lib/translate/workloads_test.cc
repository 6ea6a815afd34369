#include <catch2/catch_test_macros.hpp>

#include "lib/translate/test_mesh.h"

using namespace weft;
using namespace weft::translate;
using namespace weft::translate::testing;

namespace {

const model::PortMap* ports_of(const Mesh& mesh, const char* workload, const char* service) {
  const auto& services = mesh.workload(workload)->services;
  const auto found = services.find(service);
  return found == services.end() ? nullptr : &found->second;
}

}  // namespace

TEST_CASE("a pod becomes a workload with all its facts") {
  Options options;
  options.cluster_id = "c1";
  options.network = "n1";
  options.trust_domain = "td";
  const auto mesh = make_mesh(R"(
apiVersion: v1
kind: Node
metadata:
  name: node-a
  labels: {topology.kubernetes.io/region: r, topology.kubernetes.io/zone: z, topology.istio.io/subzone: s}
---
apiVersion: v1
kind: Pod
metadata:
  name: web-7d9f-x
  namespace: shop
  labels: {app: web, version: v2, pod-template-hash: 7d9f, topology.istio.io/network: ignored}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-7d9f, controller: true}]
spec: {nodeName: node-a, serviceAccountName: web-account}
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]
  conditions: [{type: Ready, status: "True"}]
)",
                              options);
  const auto* pod = mesh.workload("web-7d9f-x");
  REQUIRE(pod);
  CHECK(pod->uid == "c1//Pod/shop/web-7d9f-x");
  CHECK(pod->namespace_name == "shop");
  CHECK(pod->network == "n1");
  CHECK(pod->cluster_id == "c1");
  CHECK(pod->identity().to_string() == "spiffe://td/ns/shop/sa/web-account");
  CHECK(pod->node == "node-a");
  CHECK(pod->addresses == std::vector{*IpAddress::parse("10.0.0.1"), *IpAddress::parse("fd00::1")});
  CHECK(pod->locality == model::Locality{"r", "z", "s"});
  CHECK(pod->status == model::HealthStatus::kHealthy);
  CHECK(pod->network_mode == model::NetworkMode::kStandard);
  CHECK(pod->workload_type == model::WorkloadType::kPod);
  CHECK(pod->workload_name == "web");
  CHECK(pod->canonical_name == "web");
  CHECK(pod->canonical_revision == "v2");
  CHECK(pod->capacity == 1);
}

TEST_CASE("what a pod's state means to others") {
  struct Row {
    const char *meta, *spec, *status;
    bool there, healthy;
  };
  const Row rows[] = {
      {"", "", "podIP: 10.0.0.1", true, false},
      {"", "", "podIP: 10.0.0.1, conditions: [{type: Ready, status: 'True'}]", true, true},
      {"", "", "podIP: 10.0.0.1, conditions: [{type: Ready, status: 'False'}]", true, false},
      {"", "", "podIP: 10.0.0.1, conditions: [{type: Ready, status: Unknown}]", true, false},
      {"deletionTimestamp: '2026-01-01T00:00:00Z'", "", "podIP: 10.0.0.1, conditions: [{type: Ready, status: 'True'}]", true,
       false},
      {"", "", "phase: Pending, podIP: 10.0.0.1", true, false},
      {"", "", "phase: Succeeded, podIP: 10.0.0.1", false, false},
      {"", "", "phase: Failed, podIP: 10.0.0.1", false, false},
      {"", "", "phase: Running", false, false},
      {"", "", "podIP: not-an-address", false, false},
  };
  for (const auto& row : rows) {
    INFO(row.meta << " " << row.status);
    const auto mesh = make_mesh(std::string("{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop, ") + row.meta +
                                "}, spec: {" + row.spec + "}, status: {" + row.status + "}}");
    const auto* pod = mesh.workload("p");
    CHECK((pod != nullptr) == row.there);
    if (pod) CHECK((pod->status == model::HealthStatus::kHealthy) == row.healthy);
  }
  const auto host = make_mesh(
      "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}, spec: {hostNetwork: true}, status: {podIP: "
      "10.0.0.1}}");
  CHECK(host.workload("p")->network_mode == model::NetworkMode::kHostNetwork);
  CHECK(host.workload("p")->service_account == "default");
}

TEST_CASE("a workload is called after its controller, unless its labels name it") {
  struct Row {
    const char *labels, *owner, *workload, *canonical, *revision;
  };
  const Row rows[] = {
      {"", "", "pod-1", "pod-1", "latest"},
      {"", "kind: ReplicaSet, name: web-abc", "web-abc", "web-abc", "latest"},
      {"pod-template-hash: abc", "kind: ReplicaSet, name: web-abc", "web", "web", "latest"},
      {"pod-template-hash: xyz", "kind: ReplicaSet, name: web-abc", "web-abc", "web-abc", "latest"},
      {"rollouts-pod-template-hash: abc", "kind: ReplicaSet, name: web-abc", "web", "web", "latest"},
      {"deploymentconfig: web", "kind: ReplicationController, name: web-7", "web", "web", "latest"},
      {"", "kind: StatefulSet, name: db", "db", "db", "latest"},
      {"", "kind: Job, name: nightly-28373880", "nightly", "nightly", "latest"},
      {"", "kind: Job, name: once-123", "once-123", "once-123", "latest"},
      {"app: a", "kind: StatefulSet, name: db", "db", "a", "latest"},
      {"app: a, app.kubernetes.io/name: n", "", "pod-1", "n", "latest"},
      {"app: a, app.kubernetes.io/name: n, service.istio.io/canonical-name: c", "", "pod-1", "c", "latest"},
      {"service.istio.io/workload-name: w", "kind: StatefulSet, name: db", "w", "w", "latest"},
      {"version: v1", "", "pod-1", "pod-1", "v1"},
      {"version: v1, app.kubernetes.io/version: v2", "", "pod-1", "pod-1", "v2"},
      {"version: v1, app.kubernetes.io/version: v2, service.istio.io/canonical-revision: v3", "", "pod-1", "pod-1", "v3"},
  };
  for (const auto& row : rows) {
    INFO(row.labels << " | " << row.owner);
    const std::string owner =
        *row.owner ? std::string("ownerReferences: [{apiVersion: x/v1, controller: true, ") + row.owner + "}]" : "";
    const auto mesh =
        make_mesh(std::string("{apiVersion: v1, kind: Pod, metadata: {name: pod-1, namespace: shop, labels: {") +
                  row.labels + "}, " + owner + "}, status: {podIP: 10.0.0.1}}");
    const auto* pod = mesh.workload("pod-1");
    REQUIRE(pod);
    CHECK(pod->workload_name == row.workload);
    CHECK(pod->canonical_name == row.canonical);
    CHECK(pod->canonical_revision == row.revision);
    CHECK(pod->workload_type == model::WorkloadType::kPod);
  }
}

namespace {

constexpr const char* kShop = R"(
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, "fd00:96::1"]
  ipFamilies: [IPv4, IPv6]
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: http}
  - {name: plain, port: 81}
  - {name: other, port: 82, targetPort: 9000}
  - {name: missing, port: 83, targetPort: nowhere}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: shop}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: other}
spec: {clusterIP: 10.96.0.2, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: shop}
spec: {type: ExternalName, externalName: example.org}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}, {name: nowhere, containerPort: 5, protocol: UDP}]}]}
status: {podIP: 10.0.0.1, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, namespace: shop, labels: {app: web, tier: x}}
spec: {containers: [{name: c, ports: [{name: http, containerPort: 8081}]}]}
status: {podIP: 10.0.0.2, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-1, namespace: shop, labels: {app: db}}
status: {podIP: 10.0.0.3}
)";

}  // namespace

TEST_CASE("services select the pods of their namespace, named ports resolved for each") {
  const auto mesh = make_mesh(kShop);
  const auto* web = mesh.service("web");
  REQUIRE(web);
  CHECK(web->hostname == "web.shop.svc.cluster.local");
  CHECK(web->canonical);
  CHECK(web->ip_families == model::IpFamilies::kDual);
  CHECK(web->vips ==
        std::vector<model::NetworkAddress>{{"", *IpAddress::parse("10.96.0.1")}, {"", *IpAddress::parse("fd00:96::1")}});
  CHECK(web->ports == model::PortMap{{80, 0}, {81, 81}, {82, 9000}, {83, 0}});
  CHECK(!web->load_balancing);
  CHECK(mesh.service("headless")->vips.empty());
  CHECK(!mesh.service("elsewhere"));
  CHECK(mesh.output.services.size() == 3);

  const char* key = "shop/web.shop.svc.cluster.local";
  REQUIRE(ports_of(mesh, "web-1", key));
  CHECK(*ports_of(mesh, "web-1", key) == model::PortMap{{80, 8080}, {81, 81}, {82, 9000}});
  CHECK(*ports_of(mesh, "web-2", key) == model::PortMap{{80, 8081}, {81, 81}, {82, 9000}});
  CHECK(ports_of(mesh, "web-1", "shop/headless.shop.svc.cluster.local"));
  CHECK(!ports_of(mesh, "web-1", "other/web.other.svc.cluster.local"));
  CHECK(!ports_of(mesh, "db-1", key));
  const auto snapshot_service = mesh.snapshot->service({"shop", "web.shop.svc.cluster.local"});
  REQUIRE(snapshot_service);
  CHECK(snapshot_service->endpoints.size() == 2);
}

TEST_CASE("a service's wishes become a load-balancing rule") {
  using Scope = model::LocalityScope;
  struct Row {
    const char *spec, *annotation, *namespace_annotation;
    std::optional<model::LoadBalancing> expected;
  };
  const model::LoadBalancing node{{Scope::kNode}, model::LoadBalancingMode::kStrict, {}};
  const model::LoadBalancing zone{{Scope::kNetwork, Scope::kRegion, Scope::kZone}, model::LoadBalancingMode::kFailover, {}};
  const model::LoadBalancing near{{Scope::kNetwork, Scope::kRegion, Scope::kZone, Scope::kSubzone, Scope::kNode},
                                  model::LoadBalancingMode::kFailover,
                                  {}};
  auto all = [](model::LoadBalancing rule) {
    rule.health_policy = model::HealthPolicy::kAllowAll;
    return rule;
  };
  const Row rows[] = {
      {"", "", "", std::nullopt},
      {"internalTrafficPolicy: Local", "", "", node},
      {"internalTrafficPolicy: Cluster", "", "", std::nullopt},
      {"trafficDistribution: PreferClose", "", "", zone},
      {"trafficDistribution: PreferSameZone", "", "", zone},
      {"trafficDistribution: PreferSameNode", "", "", near},
      {"trafficDistribution: Whatever", "", "", std::nullopt},
      {"", "PreferClose", "", zone},
      {"", "", "PreferClose", zone},
      {"", "Any", "PreferClose", std::nullopt},
      {"trafficDistribution: PreferSameNode", "PreferClose", "", near},
      {"internalTrafficPolicy: Local, trafficDistribution: PreferClose", "", "", node},
      {"publishNotReadyAddresses: true", "", "", all({})},
      {"publishNotReadyAddresses: true, trafficDistribution: PreferClose", "", "", all(zone)},
  };
  for (const auto& row : rows) {
    INFO(row.spec << " | " << row.annotation << " | " << row.namespace_annotation);
    const std::string distribution = "networking.istio.io/traffic-distribution: ";
    const auto annotations = [&](const char* value) {
      return *value ? "annotations: {" + distribution + value + "}" : std::string();
    };
    const auto mesh =
        make_mesh("{apiVersion: v1, kind: Namespace, metadata: {name: shop, " + annotations(row.namespace_annotation) +
                  "}}\n---\n{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop, " +
                  annotations(row.annotation) + "}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}], " + row.spec + "}}");
    REQUIRE(mesh.service("s"));
    CHECK(mesh.service("s")->load_balancing == row.expected);
  }
}

TEST_CASE("endpoint slices add what no selector finds") {
  const auto mesh = make_mesh(std::string(kShop) + R"(
---
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: shop}
spec: {clusterIP: 10.96.0.9, ports: [{name: tcp, port: 80, targetPort: 90}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: outside-1, namespace: shop, labels: {kubernetes.io/service-name: outside}}
addressType: IPv4
ports: [{name: tcp, port: 91, protocol: TCP}, {name: udp, port: 92, protocol: UDP}]
endpoints:
- {addresses: [192.0.2.1], conditions: {ready: true}}
- {addresses: [192.0.2.2], conditions: {ready: false}}
- {addresses: [10.0.0.3], targetRef: {kind: Pod, name: db-1, namespace: shop}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: web-1}}, {addresses: [oops, 192.0.2.9]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: names, namespace: shop, labels: {kubernetes.io/service-name: outside}}
addressType: FQDN
endpoints: [{addresses: [example.org]}]
)");
  CHECK(*ports_of(mesh, "db-1", "shop/outside.shop.svc.cluster.local") == model::PortMap{{80, 90}});
  std::vector<const model::Workload*> slices;
  for (const auto& workload : mesh.output.workloads) {
    if (workload.uid.find("EndpointSlice") != std::string::npos) slices.push_back(&workload);
  }
  REQUIRE(slices.size() == 2);
  CHECK(slices[0]->uid == "Kubernetes/discovery.k8s.io/EndpointSlice/shop/outside-1/192.0.2.1");
  CHECK(slices[0]->network_mode == model::NetworkMode::kHostNetwork);
  CHECK(slices[0]->protocol == model::TunnelProtocol::kNone);
  CHECK(slices[0]->status == model::HealthStatus::kHealthy);
  CHECK(slices[1]->status == model::HealthStatus::kUnhealthy);
  CHECK(mesh.condition("web-1", kFullyApplied, "InvalidValue"));
  CHECK(slices[0]->services == std::map<std::string, model::PortMap>{{"shop/outside.shop.svc.cluster.local", {{80, 91}}}});
}

TEST_CASE("workload entries belong to the services and service entries that select them") {
  const auto mesh = make_mesh(R"(
apiVersion: v1
kind: Service
metadata: {name: vm, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: vm}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: vms, namespace: shop}
spec:
  hosts: [vm.example.com]
  addresses: [10.97.0.1, 10.98.0.0/24]
  resolution: STATIC
  ports: [{name: http, number: 80, protocol: HTTP}, {name: db, number: 90, targetPort: 91, protocol: TCP}]
  workloadSelector: {labels: {app: vm}}
  subjectAltNames: ["spiffe://cluster.local/ns/shop/sa/vm"]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm-1, namespace: shop, labels: {from: meta}}
spec: {address: 192.0.2.7, labels: {app: vm}, ports: {http: 8080}, serviceAccount: vm, network: n2, locality: r/z/s, weight: 3}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm-2, namespace: shop}
spec: {address: vm2.example.com, labels: {app: vm, networking.istio.io/tunnel: http}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm-3, namespace: shop}
spec: {labels: {app: lost}}
)");
  const auto* vm = mesh.workload("vm-1");
  REQUIRE(vm);
  CHECK(vm->uid == "Kubernetes/networking.istio.io/WorkloadEntry/shop/vm-1");
  CHECK(vm->status == model::HealthStatus::kHealthy);
  CHECK(vm->protocol == model::TunnelProtocol::kNone);
  CHECK(vm->network == "n2");
  CHECK(vm->service_account == "vm");
  CHECK(vm->locality == model::Locality{"r", "z", "s"});
  CHECK(vm->capacity == 3);
  CHECK(vm->services == std::map<std::string, model::PortMap>{{"shop/vm.example.com", {{80, 8080}, {90, 91}}},
                                                              {"shop/vm.shop.svc.cluster.local", {{80, 8080}}}});
  const auto* named = mesh.workload("vm-2");
  CHECK(named->hostname == "vm2.example.com");
  CHECK(named->addresses.empty());
  CHECK(named->protocol == model::TunnelProtocol::kHbone);
  CHECK(named->services == std::map<std::string, model::PortMap>{{"shop/vm.example.com", {{80, 80}, {90, 91}}},
                                                                 {"shop/vm.shop.svc.cluster.local", {{80, 80}}}});
  CHECK(mesh.condition("vm-3", kFullyApplied, "InvalidValue"));

  const auto* entry = mesh.service("vms");
  REQUIRE(entry);
  CHECK(entry->hostname == "vm.example.com");
  CHECK(entry->vips == std::vector<model::NetworkAddress>{{"", *IpAddress::parse("10.97.0.1")}});
  CHECK(entry->cidr_vips == std::vector<model::CidrVip>{{"", *Cidr::parse("10.98.0.0/24")}});
  CHECK(entry->subject_alt_names == std::vector<std::string>{"spiffe://cluster.local/ns/shop/sa/vm"});
  CHECK(entry->canonical);
}

TEST_CASE("endpoints written inside a service entry become workloads") {
  const auto mesh = make_mesh(R"(
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: static, namespace: shop}
spec:
  hosts: [static.example.com]
  resolution: STATIC
  ports: [{name: http, number: 80, protocol: HTTP}]
  endpoints: [{address: 192.0.2.1, ports: {http: 81}}, {address: 192.0.2.2}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: dns, namespace: shop}
spec: {hosts: [dns.example.com, "*.example.com"], resolution: DNS, ports: [{name: http, number: 80, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: none, namespace: shop}
spec: {hosts: [none.example.com], resolution: NONE, addresses: [10.99.0.0/16], ports: [{name: http, number: 80, protocol: HTTP}], endpoints: [{address: 192.0.2.3}]}
)");
  REQUIRE(mesh.output.workloads.size() == 3);
  CHECK(mesh.output.workloads[0].uid == "Kubernetes/networking.istio.io/ServiceEntry/shop/static/192.0.2.1");
  CHECK(mesh.output.workloads[0].services.at("shop/static.example.com") == model::PortMap{{80, 81}});
  CHECK(mesh.output.workloads[1].services.at("shop/static.example.com") == model::PortMap{{80, 80}});
  CHECK(mesh.output.workloads[2].hostname == "dns.example.com");
  CHECK(mesh.output.workloads[2].services.size() == 1);
  REQUIRE(mesh.service("none"));
  CHECK(mesh.service("none")->passthrough());
  CHECK(mesh.service("none")->health_policy() == model::HealthPolicy::kAllowAll);
}

TEST_CASE("of two objects with one name the later counts, and both are told") {
  const auto mesh = make_mesh(R"(
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: shop}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: shop}
status: {podIP: 10.0.0.2}
)");
  REQUIRE(mesh.output.workloads.size() == 1);
  CHECK(mesh.output.workloads[0].addresses[0].to_string() == "10.0.0.2");
  REQUIRE(mesh.output.statuses.size() == 2);
  CHECK(mesh.output.statuses[0].conditions[0].status == "False");
  CHECK(mesh.output.statuses[0].conditions[0].reason == "Replaced");
  CHECK(mesh.output.statuses[1].conditions[0].status == "True");
}

TEST_CASE("one host name has one canonical service, the cluster's own first, then the oldest") {
  const auto mesh = make_mesh(R"(
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shadow, namespace: other, creationTimestamp: "2020-01-01T00:00:00Z"}
spec: {hosts: [web.shop.svc.cluster.local, x.example.com], addresses: [10.97.0.1], ports: [{name: a, number: 80, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: same, namespace: shop}
spec: {hosts: [web.shop.svc.cluster.local], addresses: [10.97.0.2], ports: [{name: a, number: 80, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: newer, namespace: aaa, creationTimestamp: "2021-01-01T00:00:00Z"}
spec: {hosts: [x.example.com], addresses: [10.97.0.3], ports: [{name: a, number: 80, protocol: HTTP}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
)");
  CHECK(mesh.service("web")->canonical);
  CHECK(!mesh.service("same"));  // the Service of the same namespace wins
  int canonical_x = 0;
  for (const auto& service : mesh.output.services) {
    if (service.hostname == "web.shop.svc.cluster.local") CHECK(service.canonical == (service.name == "web"));
    if (service.hostname == "x.example.com" && service.canonical) {
      ++canonical_x;
      CHECK(service.name == "shadow");
    }
  }
  CHECK(canonical_x == 1);
}
