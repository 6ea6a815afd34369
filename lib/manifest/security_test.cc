// Security rules: what is read, and what is not takes the closed side.
#include <catch2/catch_test_macros.hpp>

#include "lib/manifest/test_manifest.h"

using namespace weft;
using namespace weft::manifest;

TEST_CASE("port-level modes take number and text keys and refuse the rest on the closed side") {
  auto result = yaml(R"(
apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: {name: p}
spec:
  selector: {matchLabels: {app: httpbin}}
  mtls: {mode: STRICT}
  portLevelMtls:
    9000: {mode: DISABLE}
    "9001": {mode: PERMISSIVE}
    9002: {mode: strict}
    http: {mode: DISABLE}
    9003: PERMISSIVE
)");
  const auto& policy = body_of<PeerAuthentication>(result);
  CHECK(policy.has_selector);
  CHECK(policy.mode == MtlsMode::kStrict);
  CHECK(policy.ports.at(9000) == MtlsMode::kDisable);
  CHECK(policy.ports.at(9001) == MtlsMode::kPermissive);
  CHECK(policy.ports.at(9002) == MtlsMode::kStrict);
  CHECK(policy.ports.at(9003) == MtlsMode::kStrict);
  CHECK(policy.ports.size() == 4);
  CHECK(has_problem(*result.objects[0], "InvalidValue", "spec.portLevelMtls.9002.mode"));
  CHECK(has_problem(*result.objects[0], "InvalidValue", "spec.portLevelMtls.http"));
  CHECK(has_problem(*result.objects[0], "InvalidValue", "spec.portLevelMtls.9003"));
}

TEST_CASE("an authorization policy is read whole, HTTP attributes included") {
  auto result = yaml(R"(
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: n}
spec:
  selector: {matchLabels: {app: web}}
  action: DENY
  rules:
  - from:
    - source: {principals: ["cluster.local/ns/a/sa/b"], notNamespaces: [c], ipBlocks: ["10.0.0.0/8"]}
    to:
    - operation: {methods: [GET], ports: ["8080", 9090]}
    when:
    - {key: source.ip, values: ["10.1.2.3"], notValues: ["10.9.0.0/16"]}
)");
  const auto& policy = body_of<AuthorizationPolicy>(result);
  CHECK(policy.action == AuthorizationPolicy::Action::kDeny);
  const auto& rule = policy.rules.at(0);
  CHECK_FALSE(rule.incomplete);
  CHECK(rule.from.at(0).principals.values.at(0) == "cluster.local/ns/a/sa/b");
  CHECK(rule.from.at(0).namespaces.not_values.at(0) == "c");
  CHECK(rule.to.at(0).ports.values == std::vector<std::string>{"8080", "9090"});
  CHECK(rule.to.at(0).methods.values.at(0) == "GET");
  CHECK(rule.when.at(0).terms.not_values.at(0) == "10.9.0.0/16");
  CHECK(result.objects[0]->problems.empty());
}

TEST_CASE("a rule that says more than is understood is marked incomplete, the others are not") {
  auto result = yaml(R"(
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: n}
spec:
  rules:
  - from: [{source: {principals: [a], namespace: [typo]}}]
  - from: [{source: {principals: [b]}}]
  - from: {source: {principals: [c]}}
  - to: [{operation: {ports: 80}}]
)");
  const auto& rules = body_of<AuthorizationPolicy>(result).rules;
  REQUIRE(rules.size() == 4);
  CHECK(rules[0].incomplete);
  CHECK_FALSE(rules[1].incomplete);
  CHECK(rules[2].incomplete);
  CHECK(rules[3].incomplete);
  CHECK(has_problem(*result.objects[0], "FieldIgnored", "spec.rules[0].from[0].source.namespace"));
  CHECK(has_problem(*result.objects[0], "InvalidValue", "spec.rules[3].to[0].operation.ports"));
}

TEST_CASE("a rule, or an entry of one, that is null or no map is marked incomplete, an empty map is not") {
  struct Row {
    const char* rule;
    const char* path;  // of the problem; null: none, and the rule is complete
  };
  for (auto [rule, path] :
       {Row{"null", "spec.rules[0]"}, Row{"~", "spec.rules[0]"}, Row{"", "spec.rules[0]"}, Row{"text", "spec.rules[0]"},
        Row{"{from: [null]}", "spec.rules[0].from[0]"}, Row{"{from: [{source: {}}, 5]}", "spec.rules[0].from[1]"},
        Row{"{to: [null]}", "spec.rules[0].to[0]"}, Row{"{when: [null]}", "spec.rules[0].when[0]"}, Row{"{}", nullptr},
        Row{"{from: [{source: {}}]}", nullptr}, Row{"{from: null}", nullptr}}) {
    INFO(rule);
    auto result = yaml(std::string("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\n") +
                       "spec:\n  rules:\n  - " + rule + "\n  - {to: [{operation: {ports: ['80']}}]}\n");
    const auto& policy = body_of<AuthorizationPolicy>(result);
    REQUIRE(policy.rules.size() == 2);
    CHECK(policy.rules[0].incomplete == (path != nullptr));
    CHECK_FALSE(policy.rules[1].incomplete);
    CHECK_FALSE(policy.unreadable);
    if (path) CHECK(has_problem(*result.objects[0], "InvalidValue", path));
  }
}

TEST_CASE("a policy whose action or rules cannot be read says so") {
  for (auto spec : {"{action: BLOCK}", "{rules: everything}", "{action: [DENY]}", "{selector: {matchLabels: app}}", "text",
                    "{targetRefs: [null]}"}) {
    INFO(spec);
    auto result =
        yaml(std::string("{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p}, spec: ") +
             spec + "}");
    CHECK(body_of<AuthorizationPolicy>(result).unreadable);
  }
}

TEST_CASE("a policy's field written beside its specification makes it unreadable, one of its metadata does not") {
  const auto unreadable = [](const std::string& more) {
    auto result = yaml("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nspec: {rules: [{}]}\n" + more);
    return body_of<AuthorizationPolicy>(result).unreadable;
  };
  CHECK_FALSE(unreadable("metadata: {name: p, generation: 3, lables: {a: b}}\nstatus: {conditions: []}\n"));
  CHECK(unreadable("metadata: {name: p}\naction: DENY\n"));
}
