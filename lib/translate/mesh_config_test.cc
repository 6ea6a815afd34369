#include "lib/translate/mesh_config.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/translate/test_mesh.h"

using namespace weft;
using namespace weft::translate;
using namespace weft::translate::testing;

namespace {

std::string config_map(const std::string& mesh, const std::string& ns = "istio-system") {
  std::string indented = "    ";
  for (const char c : mesh) indented += c == '\n' ? "\n    " : std::string(1, c);
  return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: " + ns + "}\ndata:\n  mesh: |\n" + indented +
         "\n---\n";
}

constexpr const char* kApp = R"(
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {serviceAccountName: web}
status: {podIP: 10.0.0.9}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-client, namespace: shop}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/client]}}]}]}
)";

model::ConnectionFacts from(const std::string& trust_domain, const std::string& account = "client") {
  auto facts = connection("shop/" + account, "10.0.0.1", 80);
  facts.peer->trust_domain = trust_domain;
  return facts;
}

Output translated(const std::string& yaml, const Output* before) {
  return translate::translate(manifest::parse(yaml, "mesh.yaml").objects, {}, before);
}

}  // namespace

TEST_CASE("the trust domain of the mesh configuration is the workloads'") {
  CHECK(make_mesh(kApp).workload("web")->trust_domain == "cluster.local");
  CHECK(make_mesh(config_map("trustDomain: bank.example") + kApp).workload("web")->trust_domain == "bank.example");
  // Laid over what was set, which holds where the text says nothing.
  CHECK(make_mesh(config_map("accessLogFile: /dev/stdout") + kApp, {.trust_domain = "old.example"})
            .workload("web")
            ->trust_domain == "old.example");
  CHECK(make_mesh(config_map("trustDomain: bank.example", "shop") + kApp).workload("web")->trust_domain == "cluster.local");
}

TEST_CASE("principals of the trust domain hold under its name and its aliases, others as they are written") {
  const auto mesh = make_mesh(config_map("trustDomain: bank.example\ntrustDomainAliases: [old.example]") + kApp);
  CHECK(mesh.verdict("web", from("bank.example")).allowed);
  CHECK(mesh.verdict("web", from("old.example")).allowed);
  // "cluster.local" stands for the mesh's own, which is called otherwise here.
  CHECK(!mesh.verdict("web", from("cluster.local")).allowed);
  CHECK(!mesh.verdict("web", from("other.example")).allowed);
  CHECK(!mesh.verdict("web", from("bank.example", "stranger")).allowed);
  // The control: without a mesh configuration the same policy takes the same client under the default name only.
  const auto plain = make_mesh(kApp);
  CHECK(plain.verdict("web", from("cluster.local")).allowed);
  CHECK(!plain.verdict("web", from("bank.example")).allowed);
}

TEST_CASE("negated principals and conditions take aliases too, and patterns of trust domains keep their meaning") {
  const auto mesh = make_mesh(config_map("trustDomain: new-td\ntrustDomainAliases: [old-td, other]") + R"(
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
status: {podIP: 10.0.0.9}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: shop}
spec:
  action: DENY
  rules:
  - from: [{source: {notPrincipals: [old-td/ns/shop/sa/client]}}]
    when: [{key: source.principal, values: ["*-td/ns/shop/sa/*"]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: suffix, namespace: shop}
spec: {action: DENY, rules: [{when: [{key: source.principal, values: ["*-td/ns/shop/sa/late"]}]}]}
)");
  CHECK(mesh.verdict("web", from("new-td")).allowed);
  CHECK(mesh.verdict("web", from("other")).allowed);
  CHECK(!mesh.verdict("web", from("new-td", "late")).allowed);
  CHECK(!mesh.verdict("web", from("other", "late")).allowed);
  CHECK(mesh.verdict("web", from("elsewhere", "late")).allowed);
}

TEST_CASE("the root namespace of the mesh configuration is the one whose policies hold for all") {
  const std::string policy = R"(
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: mesh}
spec: {}
)";
  const auto everywhere = make_mesh(config_map("rootNamespace: mesh") + kApp + policy);
  CHECK(everywhere.policy("mesh/nothing")->scope == model::PolicyScope::kGlobal);
  const auto mesh = make_mesh(kApp + policy);
  CHECK(mesh.policy("mesh/nothing")->scope == model::PolicyScope::kNamespace);
}

TEST_CASE("a mesh configuration that cannot be read leaves what it said before in force, and says why") {
  const auto good = translated(config_map("trustDomain: bank.example") + kApp, nullptr);
  CHECK(good.mesh_config_error.empty());
  for (const char* text : {"trustDomain: [", "trustDomain: {a: b}", "trustDomain: a/b", "trustDomain: \"\"", "- list",
                           "trustDomainAliases: [\"*\"]", "rootNamespace: [x]",
                           "serviceEntryVisibility: {defaultVisibility: SOMETIMES}", "a: 1\n---\nb: 2"}) {
    CAPTURE(text);
    const auto kept = translated(config_map(text) + kApp, &good);
    CHECK(kept.mesh_config == good.mesh_config);
    CHECK(kept.workloads.at(0).trust_domain == "bank.example");
    CHECK(kept.mesh_config_error.find("stays in force") != std::string::npos);
    const auto& conditions = kept.statuses.at(0).conditions;
    CHECK(std::ranges::any_of(conditions, [](const Condition& c) {
      return c.reason == "InvalidValue" && c.level == Level::kError && c.message.find("data.mesh") != std::string::npos;
    }));
    // Without an earlier one: as if there were none.
    const auto first = translated(config_map(text) + kApp, nullptr);
    CHECK(first.workloads.at(0).trust_domain == "cluster.local");
    CHECK(first.mesh_config_error.find("nothing of it") != std::string::npos);
  }
  // Taken away, it is no longer in force.
  CHECK(translated(kApp, &good).workloads.at(0).trust_domain == "cluster.local");
}

TEST_CASE("a mesh configuration whose data is no text leaves what it said before in force") {
  const auto good = translated(config_map("trustDomain: bank.example") + kApp, nullptr);
  const auto kept = translated(
      std::string(
          "{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system}, data: {mesh: {trustDomain: "
          "a}}}\n---\n") +
          kApp,
      &good);
  CHECK(kept.workloads.at(0).trust_domain == "bank.example");
  CHECK(!kept.mesh_config_error.empty());
}

TEST_CASE("too many trust domain aliases are refused") {
  std::string names = "trustDomainAliases: [";
  for (std::size_t i = 0; i <= MeshConfig::kTrustDomainAliasesMax; ++i) names += "a" + std::to_string(i) + ", ";
  CHECK(!parse_mesh_config(names + "]"));
  names.erase(names.find("a0, "), 4);
  CHECK(parse_mesh_config(names + "]"));
}

TEST_CASE("the mesh configuration says who sees service entries") {
  const std::string entry = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop, labels: {istio.io/use-waypoint: wp, istio.io/use-waypoint-namespace: edge}}
spec: {hosts: [api.example.com], addresses: [10.97.0.1], resolution: STATIC, ports: [{name: a, number: 80, protocol: HTTP}], endpoints: [{address: 192.0.2.1}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: edge}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: All}}}]}
status: {addresses: [{value: 10.0.0.50}]}
)";
  struct Row {
    const char* rules;
    const char* seen;  // public, namespace, or nothing
  };
  for (const auto& row : {
           Row{"{}", "public"},
           Row{"{defaultVisibility: NAMESPACE}", "namespace"},
           Row{"{defaultVisibility: NONE}", ""},
           Row{"{policies: [{visibility: NAMESPACE, matchingRules: [{matcher: {namespaceSelector: {}}}]}]}", "namespace"},
           Row{"{policies: [{visibility: NONE, matchingRules: [{namespaceSelector: {matchLabels: {team: b}}}]}]}", "public"},
           Row{"{policies: [{visibility: NAMESPACE, matchingRules: [{namespaceSelector: {matchLabels: {team: a}}}]}, "
               "{visibility: NONE}]}",
               "namespace"},
           Row{"{policies: [{visibility: NONE, matchingRules: [{hostnameSuffix: com}]}]}", "public"},
       }) {
    CAPTURE(row.rules);
    const auto mesh = make_mesh(config_map("serviceEntryVisibility: " + std::string(row.rules)) + entry);
    const auto* service = mesh.service("api");
    CHECK((service != nullptr) == (*row.seen != 0));
    CHECK(mesh.output.workloads.size() == (service ? 1 : 0));
    if (!service) continue;
    CHECK((service->visibility == model::Visibility::kNamespace) == (std::string(row.seen) == "namespace"));
    // The waypoint of another namespace would have to see it.
    CHECK(service->waypoint.has_value() == (std::string(row.seen) == "public"));
    if (!service->waypoint) CHECK(mesh.condition("api", kWaypointBound, "CrossNamespaceWaypointForbidden"));
  }
}
