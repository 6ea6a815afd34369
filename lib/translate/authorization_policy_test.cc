#include <catch2/catch_test_macros.hpp>

#include "lib/translate/test_mesh.h"

using namespace weft;
using namespace weft::translate;
using namespace weft::translate::testing;

namespace {

// The destination of every case, and the callers that policies may name.
constexpr const char* kPods = R"(
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
status: {podIP: 10.0.0.9}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
status: {podIP: 10.0.0.8}
---
apiVersion: v1
kind: Pod
metadata: {name: far, namespace: other, labels: {app: web}}
status: {podIP: 10.1.0.9}
---
apiVersion: v1
kind: Pod
metadata: {name: frontend, namespace: shop}
spec: {serviceAccountName: frontend}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: job, namespace: other}
spec: {serviceAccountName: job}
status: {podIP: 10.1.0.1}
---
)";

std::string policy(const std::string& name, const std::string& meta, const std::string& spec) {
  return "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: " + name + ", " + meta +
         "}\nspec: {" + spec + "}\n---\n";
}

Mesh with_policy(const std::string& spec, const Options& options = {}) {
  return make_mesh(kPods + policy("p", "namespace: shop", spec), options);
}

const std::string kFrontend = "principals: [cluster.local/ns/shop/sa/frontend]";

struct Row {
  std::string spec;
  const char* expected;  // reachable(web)
  // The reasons of conditions ZtunnelAccepted and FullyApplied; null: fully applied.
  const char* finding = nullptr;
};

void check(const std::vector<Row>& rows, const Options& options = {}) {
  for (const auto& row : rows) {
    INFO(row.spec);
    const auto mesh = with_policy(row.spec, options);
    CHECK(reachable(mesh, "web") == row.expected);
    CHECK((mesh.condition("p", kFullyApplied, row.finding ? row.finding : "Accepted") != nullptr));
  }
}

}  // namespace

TEST_CASE("L4 rules allow exactly whom they name") {
  check({
      {"rules: [{from: [{source: {" + kFrontend + "}}]}]", "frontend:*"},
      {"rules: [{from: [{source: {principals: ['*']}}]}]", "frontend:* orders:* stranger:*"},
      {"rules: [{from: [{source: {principals: ['cluster.local/ns/shop/*']}}]}]", "frontend:* orders:*"},
      {"rules: [{from: [{source: {principals: ['*/sa/orders']}}]}]", "orders:*"},
      {"rules: [{from: [{source: {notPrincipals: ['cluster.local/ns/shop/*']}}]}]", "stranger:* plain:*"},
      {"rules: [{from: [{source: {principals: [spiffe://cluster.local/ns/shop/sa/frontend]}}]}]", "none",
       "PrincipalNotInUse"},
      {"rules: [{from: [{source: {principals: [CLUSTER.LOCAL/ns/shop/sa/frontend]}}]}]", "none", "PrincipalNotInUse"},
      {"rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/gone]}}]}]", "none", "PrincipalNotInUse"},
      {"rules: [{from: [{source: {namespaces: [shop]}}]}]", "frontend:* orders:*"},
      {"rules: [{from: [{source: {namespaces: [shop, other]}}]}]", "frontend:* orders:* stranger:*"},
      {"rules: [{from: [{source: {namespaces: ['sh*'], notNamespaces: [other]}}]}]", "frontend:* orders:*"},
      {"rules: [{from: [{source: {notNamespaces: [shop]}}]}]", "stranger:* plain:*"},
      {"rules: [{from: [{source: {serviceAccounts: [frontend]}}]}]", "frontend:*"},
      {"rules: [{from: [{source: {serviceAccounts: [other/job]}}]}]", "stranger:*"},
      {"rules: [{from: [{source: {notServiceAccounts: [frontend, other/job]}}]}]", "orders:* plain:*"},
      {"rules: [{from: [{source: {ipBlocks: [10.0.0.0/16]}}]}]", "frontend:* orders:*"},
      {"rules: [{from: [{source: {ipBlocks: [172.16.5.5]}}]}]", "plain:*"},
      {"rules: [{from: [{source: {notIpBlocks: [10.0.0.0/8]}}]}]", "plain:*"},
      {"rules: [{from: [{source: {namespaces: [shop], ipBlocks: [10.0.0.2]}}]}]", "orders:*"},
      {"rules: [{from: [{source: {namespaces: [other]}}, {source: {" + kFrontend + "}}]}]", "frontend:* stranger:*"},
      {"rules: [{to: [{operation: {ports: ['8080']}}]}]", "frontend:8080 orders:8080 stranger:8080 plain:8080"},
      {"rules: [{to: [{operation: {ports: [8080]}}]}]", "frontend:8080 orders:8080 stranger:8080 plain:8080"},
      {"rules: [{to: [{operation: {notPorts: ['8080']}}]}]", "frontend:9090 orders:9090 stranger:9090 plain:9090"},
      {"rules: [{from: [{source: {" + kFrontend + "}}], to: [{operation: {ports: ['8080', '1']}}]}]", "frontend:8080"},
      {"rules: [{from: [{source: {" + kFrontend +
           "}}]}, {from: [{source: {namespaces: [other]}}], to: [{operation: {ports: ['9090']}}]}]",
       "frontend:* stranger:9090"},
      {"rules: [{when: [{key: source.namespace, values: [shop]}]}]", "frontend:* orders:*"},
      {"rules: [{when: [{key: source.namespace, notValues: [shop]}]}]", "stranger:* plain:*"},
      {"rules: [{when: [{key: source.principal, values: [cluster.local/ns/other/sa/job]}]}]", "stranger:*"},
      {"rules: [{when: [{key: source.ip, values: [10.0.0.1, 10.1.0.0/16]}]}]", "frontend:* stranger:*"},
      {"rules: [{when: [{key: destination.ip, values: [10.0.0.9]}]}]", "all"},
      {"rules: [{when: [{key: destination.ip, values: [10.0.0.8]}]}]", "none"},
      {"rules: [{when: [{key: destination.port, values: ['9090']}, {key: source.namespace, values: [shop]}]}]",
       "frontend:9090 orders:9090"},
      {"action: DENY, rules: [{from: [{source: {" + kFrontend + "}}]}]", "orders:* stranger:* plain:*"},
      {"action: DENY, rules: [{from: [{source: {notNamespaces: [shop]}}]}]", "frontend:* orders:*"},
      {"action: DENY, rules: [{to: [{operation: {ports: ['8080']}}]}]",
       "frontend:9090 orders:9090 stranger:9090 plain:9090"},
      {"action: DENY, rules: [{from: [{source: {" + kFrontend + "}}], to: [{operation: {ports: ['8080']}}]}]",
       "frontend:9090 orders:* stranger:* plain:*"},
  });
}

TEST_CASE("empty policies, rules and parts mean what they mean at the node") {
  check({
      {"", "none", "Info"},
      {"rules: []", "none", "Info"},
      {"rules: [{}]", "all"},
      {"action: DENY", "all", "FieldIgnored"},
      {"action: DENY, rules: []", "all", "FieldIgnored"},
      {"action: DENY, rules: [{}]", "none"},
      {"rules: [{from: []}]", "all"},
      {"rules: [{from: [{source: {}}]}]", "none"},
      {"rules: [{to: [{operation: {}}]}]", "none"},
      {"rules: [{from: [{source: {}}, {source: {namespaces: [shop]}}]}]", "frontend:* orders:*"},
      {"action: DENY, rules: [{from: [{source: {}}]}]", "all", "FieldIgnored"},
      {"action: DENY, rules: [{from: [{source: {}}, {source: {namespaces: [shop]}}]}]", "stranger:* plain:*"},
  });
  CHECK(with_policy("action: DENY, rules: [{from: [{source: {}}]}]").output.policy_rules_without_effect == 1);
}

TEST_CASE("an ALLOW rule with HTTP attributes is left out") {
  const char* unsupported = "UnsupportedAtL4";
  check({
      {"rules: [{to: [{operation: {methods: [GET]}}]}]", "none", unsupported},
      {"rules: [{to: [{operation: {methods: [GET], ports: ['8080']}}]}]", "none", unsupported},
      {"rules: [{to: [{operation: {ports: ['8080']}}, {operation: {paths: [/]}}]}]", "none", unsupported},
      {"rules: [{from: [{source: {" + kFrontend + "}}], to: [{operation: {hosts: [a]}}]}]", "none", unsupported},
      {"rules: [{from: [{source: {requestPrincipals: ['*']}}]}]", "none", unsupported},
      {"rules: [{from: [{source: {remoteIpBlocks: [10.0.0.0/8]}}]}]", "none", unsupported},
      {"rules: [{from: [{source: {" + kFrontend + "}}], when: [{key: 'request.headers[x]', values: [y]}]}]", "none",
       unsupported},
      {"rules: [{from: [{source: {" + kFrontend + "}}]}, {to: [{operation: {methods: [GET]}}]}]", "frontend:*", unsupported},
      {"rules: [{when: [{key: connection.sni, values: [x]}, {key: source.namespace, values: [shop]}]}]", "none",
       unsupported},
      {"rules: [{when: [{key: request.time, values: ['9']}, {key: source.namespace, values: [shop]}]}]", "none",
       "UnknownConditionKey"},
  });
  const auto mesh = with_policy("rules: [{to: [{operation: {methods: [GET], notPaths: [/x]}}]}]");
  const auto* condition = mesh.condition("p", kZtunnelAccepted, "UnsupportedValue");
  REQUIRE(condition);
  CHECK(condition->status == "True");  // it is sent, and denies
  CHECK(condition->message.find("methods, notPaths") != std::string::npos);
  CHECK(condition->message.find("denied") != std::string::npos);
}

TEST_CASE("a DENY rule loses its HTTP attributes, and fires without them or never") {
  struct DenyRow {
    std::string rule;
    const char* as_istio;
    const char* closed;  // with HttpInDeny::kDeny
    bool without_effect;
  };
  const DenyRow rows[] = {
      // L4 and HTTP in one part: the L4 part remains.
      {"to: [{operation: {methods: [GET], ports: ['8080']}}]", "frontend:9090 orders:9090 stranger:9090 plain:9090",
       "frontend:9090 orders:9090 stranger:9090 plain:9090", false},
      {"from: [{source: {requestPrincipals: ['*'], namespaces: [shop]}}]", "stranger:* plain:*", "stranger:* plain:*",
       false},
      // Nothing but HTTP: the rule never fires.
      {"to: [{operation: {paths: [/admin]}}]", "all", "none", true},
      {"from: [{source: {notRequestPrincipals: ['*']}}]", "all", "none", true},
      {"when: [{key: request.auth.claims, values: [x]}]", "all", "none", true},
      // One clause of nothing but HTTP stops the whole rule.
      {"from: [{source: {" + kFrontend + "}}], to: [{operation: {methods: [GET]}}]", "all", "orders:* stranger:* plain:*",
       true},
      {"from: [{source: {" + kFrontend + "}}], when: [{key: 'request.headers[x]', values: [y]}]", "all",
       "orders:* stranger:* plain:*", true},
      // An alternative of nothing but HTTP is skipped, the other is enforced.
      {"to: [{operation: {paths: [/admin]}}, {operation: {ports: ['8080']}}]",
       "frontend:9090 orders:9090 stranger:9090 plain:9090", "none", false},
  };
  for (const auto& row : rows) {
    INFO(row.rule);
    auto mesh = with_policy("action: DENY, rules: [{" + row.rule + "}]");
    CHECK(reachable(mesh, "web") == row.as_istio);
    CHECK(mesh.output.policy_rules_without_effect == (row.without_effect ? 1 : 0));
    const auto* condition = mesh.condition("p", kZtunnelAccepted, "UnsupportedValue");
    REQUIRE(condition);
    CHECK(condition->status == "True");
    CHECK((condition->level == Level::kError) == row.without_effect);
    CHECK((condition->message.find("no effect") != std::string::npos) == row.without_effect);

    Options options;
    options.http_in_deny = Options::HttpInDeny::kDeny;
    mesh = with_policy("action: DENY, rules: [{" + row.rule + "}]", options);
    CHECK(reachable(mesh, "web") == row.closed);
    CHECK(mesh.output.policy_rules_without_effect == 0);
  }
}

TEST_CASE("values that cannot be read take the closed side") {
  const char* invalid = "InvalidValue";
  check({
      // ALLOW: never more than written.
      {"rules: [{to: [{operation: {ports: [http]}}]}]", "none", invalid},
      {"rules: [{to: [{operation: {ports: [http, '8080']}}]}]", "frontend:8080 orders:8080 stranger:8080 plain:8080",
       invalid},
      {"rules: [{to: [{operation: {notPorts: [http]}}]}]", "none", invalid},
      {"rules: [{to: [{operation: {ports: ['0']}}, {operation: {ports: ['9090']}}]}]",
       "frontend:9090 orders:9090 stranger:9090 plain:9090", invalid},
      {"rules: [{from: [{source: {ipBlocks: [10.0.0.0/99], namespaces: [shop]}}]}]", "none", invalid},
      {"rules: [{from: [{source: {notIpBlocks: [nonsense], namespaces: [shop]}}]}]", "none", invalid},
      {"rules: [{from: [{source: {serviceAccounts: [a/b/c]}}]}]", "none", invalid},
      {"rules: [{from: [{source: {principal: [x]}}]}]", "none", "FieldIgnored"},
      {"rules: [{from: [{source: {namespaces: [shop], nmaespaces: [x]}}]}, {from: [{source: {namespaces: [other]}}]}]",
       "stranger:*", "FieldIgnored"},
      {"rules: [{form: [{source: {namespaces: [shop]}}]}]", "none", "FieldIgnored"},
      {"rules: {}", "none", invalid},
      {"rules: [{from: [{source: {namespaces: [shop, {a: 1}]}}]}]", "none", invalid},
      {"action: Deny, rules: [{from: [{source: {" + kFrontend + "}}]}]", "none", invalid},
      {"selector: {matchLabels: {app: {x: 1}}}, rules: [{}]", "none", invalid},
      {"rules: [null]", "none", "FieldIgnored"},
      {"rules: [null, {from: [{source: {" + kFrontend + "}}]}]", "frontend:*", "FieldIgnored"},
      {"rules: [{from: [null]}]", "none", "FieldIgnored"},
      {"rules: [{from: [{source: {" + kFrontend + "}}], to: [null]}]", "none", "FieldIgnored"},
      {"rules: [{when: [null]}]", "none", "FieldIgnored"},
      {"targetRefs: [null], rules: [{}]", "none", invalid},
      // DENY: never less than written.
      {"action: DENY, rules: [{to: [{operation: {ports: [http]}}]}]", "none", invalid},
      {"action: DENY, rules: [{to: [{operation: {ports: [http, '8080']}}]}]", "none", invalid},
      {"action: DENY, rules: [{to: [{operation: {notPorts: [http]}}]}]", "none", invalid},
      {"action: DENY, rules: [{to: [{operation: {notPorts: [http, '8080']}}]}]",
       "frontend:8080 orders:8080 stranger:8080 plain:8080", invalid},
      {"action: DENY, rules: [{from: [{source: {ipBlocks: [nonsense], namespaces: [shop]}}]}]", "stranger:* plain:*",
       invalid},
      {"action: DENY, rules: [{from: [{source: {ipBlocks: [10.0.0.1, nonsense], namespaces: [shop]}}]}]",
       "stranger:* plain:*", invalid},
      {"action: DENY, rules: [{from: [{source: {principal: [x]}}]}]", "none", "FieldIgnored"},
      {"action: DENY, rules: [{form: [{source: {namespaces: [shop]}}]}]", "none", "FieldIgnored"},
      {"action: DENY, rules: [{from: [{source: {namespaces: [shop, {a: 1}]}}]}]", "none", invalid},
      {"action: DENY, rules: {}", "none", invalid},
      {"action: DENY, rules: [null]", "none", invalid},
      {"action: DENY, rules: [{from: [null]}]", "none", invalid},
      {"action: DENY, rules: [{from: [{source: {" + kFrontend + "}}, null]}]", "none", invalid},
      {"action: DENY, rules: [{to: [null], from: [{source: {" + kFrontend + "}}]}]", "orders:* stranger:* plain:*", invalid},
      {"action: DENY, rules: [{when: [null]}]", "none", invalid},
  });
}

TEST_CASE("scope: the root namespace covers the mesh, a selector picks workloads") {
  const auto deny = std::string("action: DENY, rules: [{}]");
  struct ScopeRow {
    const char *meta, *selector;
    const char *web, *db, *far;
    model::PolicyScope scope;
  };
  using enum model::PolicyScope;
  for (const auto& row : {
           ScopeRow{"namespace: shop", "", "none", "none", "all", kNamespace},
           ScopeRow{"namespace: shop", "app: web", "none", "all", "all", kWorkloadSelector},
           ScopeRow{"namespace: shop", "app: nothing", "all", "all", "all", kWorkloadSelector},
           ScopeRow{"namespace: istio-system", "", "none", "none", "none", kGlobal},
           ScopeRow{"namespace: istio-system", "app: web", "none", "all", "none", kWorkloadSelector},
           ScopeRow{"namespace: elsewhere", "", "all", "all", "all", kNamespace},
       }) {
    INFO(row.meta << " " << row.selector);
    const std::string selector = *row.selector ? std::string(", selector: {matchLabels: {") + row.selector + "}}" : "";
    const auto mesh = make_mesh(kPods + policy("p", row.meta, deny + selector));
    CHECK(reachable(mesh, "web") == row.web);
    CHECK(reachable(mesh, "db") == row.db);
    CHECK(reachable(mesh, "far") == row.far);
    REQUIRE(mesh.output.policies.size() == 1);
    CHECK(mesh.output.policies[0].scope == row.scope);
  }
  Options options;
  options.root_namespace = "shop";
  CHECK(reachable(make_mesh(kPods + policy("p", "namespace: shop", deny), options), "far") == "none");
  // An empty selector is no selector.
  CHECK(reachable(make_mesh(kPods + policy("p", "namespace: shop", deny + ", selector: {}")), "db") == "none");
}

TEST_CASE("policies for waypoints, of other actions and dry runs are not sent") {
  const auto absent = [](const std::string& meta, const std::string& spec, const char* type, const char* reason) {
    INFO(spec);
    const auto mesh = make_mesh(kPods + policy("p", meta, spec));
    CHECK(mesh.output.policies.empty());
    CHECK(reachable(mesh, "web") == "all");
    CHECK(mesh.condition("p", type, reason));
  };
  const std::string deny_all = "rules: [{}]";
  absent("namespace: shop", "action: DENY, targetRef: {kind: Service, name: web}, " + deny_all, kFullyApplied, "NoWaypoint");
  absent("namespace: shop",
         "action: DENY, targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: w}], " + deny_all,
         kFullyApplied, "NoWaypoint");
  absent("namespace: shop", "action: AUDIT, " + deny_all, kZtunnelAccepted, "UnsupportedValue");
  absent("namespace: shop", "action: CUSTOM, provider: {name: x}, " + deny_all, kZtunnelAccepted, "UnsupportedValue");
  absent("namespace: shop, annotations: {istio.io/dry-run: 'true'}", "action: DENY, " + deny_all, kFullyApplied,
         "UnsupportedAtL4");
  absent("namespace: shop, annotations: {istio.io/dry-run: 'T'}", "action: DENY, " + deny_all, kFullyApplied,
         "UnsupportedAtL4");
  CHECK(reachable(make_mesh(kPods + policy("p", "namespace: shop, annotations: {istio.io/dry-run: 'false'}",
                                           "action: DENY, " + deny_all)),
                  "web") == "none");

  Options options;
  options.send_dry_run = true;
  const auto mesh = make_mesh(
      kPods + policy("p", "namespace: shop, annotations: {istio.io/dry-run: 'true'}", "action: DENY, " + deny_all), options);
  REQUIRE(mesh.output.policies.size() == 1);
  CHECK(mesh.output.policies[0].dry_run);
  CHECK(reachable(mesh, "web") == "all");
  CHECK(mesh.verdict("web", connection("shop/frontend", "10.0.0.1", 8080)).dry_run_matches.size() == 1);
}

TEST_CASE("several policies: any DENY refuses, else one ALLOW must match") {
  const auto allow = [](const char* name, const char* ns) {
    return policy(name, "namespace: shop", std::string("rules: [{from: [{source: {namespaces: [") + ns + "]}}]}]");
  };
  const auto deny_orders = policy("no-orders", "namespace: istio-system",
                                  "action: DENY, rules: [{from: [{source: {serviceAccounts: [shop/orders]}}]}]");
  CHECK(reachable(make_mesh(kPods + allow("a", "shop") + allow("b", "other")), "web") == "frontend:* orders:* stranger:*");
  CHECK(reachable(make_mesh(kPods + allow("a", "shop") + deny_orders), "web") == "frontend:*");
  const auto mesh = make_mesh(kPods + allow("a", "shop") + deny_orders + policy("closed", "namespace: shop", ""));
  CHECK(reachable(mesh, "web") == "frontend:*");
  CHECK(mesh.verdict("web", connection("shop/orders", "10.0.0.2", 8080)).reason() ==
        "explicitly denied by: istio-system/no-orders");
  CHECK(mesh.verdict("web", connection("other/job", "10.1.0.1", 8080)).reason() == "allow policies exist, but none allowed");
  CHECK(mesh.workload("web")->authorization_policies.empty());
  CHECK(make_mesh(kPods + policy("z", "namespace: shop", "selector: {matchLabels: {app: web}}") +
                  policy("a", "namespace: shop", "selector: {matchLabels: {app: web}}"))
            .workload("web")
            ->authorization_policies == std::vector<std::string>{"shop/a", "shop/z"});
}

TEST_CASE("rules that allow more than they seem to are pointed out and enforced as written") {
  const auto mesh = with_policy("rules: [{from: [{source: {" + kFrontend + "}}]}, {to: [{operation: {ports: ['9090']}}]}]");
  CHECK(reachable(mesh, "web") == "frontend:* orders:9090 stranger:9090 plain:9090");
  CHECK(mesh.condition("p", kFullyApplied, "BroaderThanLikelyIntended"));
  CHECK(
      with_policy("selector: {matchLabels: {app: none}}, rules: [{}]").condition("p", kFullyApplied, "NoMatchingWorkloads"));
}
