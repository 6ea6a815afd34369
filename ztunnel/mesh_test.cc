#include "ztunnel/mesh.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "lib/async/scope.h"
#include "lib/model/authorize.h"
#include "tests/support/sim/files.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;

namespace {

constexpr const char* kPod = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
status: {phase: Running, podIP: 10.0.0.9}
---
)";

// Says who is denied by what is seen by HTTP proxies only.
constexpr const char* kHttpDeny = R"(
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}
---
)";

using Environment = std::map<std::string, std::string>;

struct Rig {
  ManualLoop loop;
  std::shared_ptr<sim::FileTree> tree = std::make_shared<sim::FileTree>();
  sim::MemoryFiles files{loop, tree};
  telemetry::Registry registry;
  Settings settings;
  std::unique_ptr<Mesh> mesh;

  explicit Rig(Environment environment) {
    environment.emplace("XDS_ADDRESS", "");
    if (!environment.contains("LOCAL_XDS")) environment.emplace("MANIFEST_DIR", "/state");
    auto read = load_settings(environment, 1);
    REQUIRE(read);
    settings = *read;
  }
  Result<void> start() {
    mesh = std::make_unique<Mesh>(loop, files, settings, registry, [](const model::Snapshot&) {});
    return mesh->start();
  }
  void put(const std::string& name, const std::string& text) {
    tree->put("/state/" + name, text);
    loop.advance(100ms);
  }
  model::WorkloadPtr web() const { return mesh->published().current()->workload("Kubernetes//Pod/shop/web"); }
  bool plain_text_is_let_in() const {
    const auto snapshot = mesh->published().current();
    return model::authorize(
               *snapshot, *web(),
               {.source_ip = *IpAddress::parse("10.1.0.1"), .peer = {}, .destination = {*IpAddress::parse("10.0.0.9"), 80}})
        .allowed;
  }
  bool metric(const std::string& line) const { return registry.text().find("\n" + line + "\n") != std::string::npos; }
};

Task<void> wait_complete(Mesh& mesh, StopToken stop, std::optional<Result<void>>& told) {
  auto waited = co_await mesh.complete(std::move(stop));
  told = std::move(waited);
}

}  // namespace

TEST_CASE("a DENY rule that cannot fire is counted, or blocks where that is asked for") {
  for (const char* choice : {"ignore", "deny"}) {
    INFO(choice);
    const bool deny = std::string(choice) == "deny";
    Rig rig(Environment{{"L7_DENY_AT_L4", choice}});
    rig.put("pod.yaml", kPod);
    REQUIRE(rig.start());
    CHECK(rig.plain_text_is_let_in());
    CHECK(rig.metric("weft_policy_rules_without_effect 0"));
    rig.put("policy.yaml", kHttpDeny);
    CHECK(rig.plain_text_is_let_in() == !deny);
    CHECK(rig.metric(deny ? "weft_policy_rules_without_effect 0" : "weft_policy_rules_without_effect 1"));
    rig.tree->erase("/state/policy.yaml");
    rig.loop.advance(100ms);
    CHECK(rig.plain_text_is_let_in());
    CHECK(rig.metric("weft_policy_rules_without_effect 0"));
  }
}

TEST_CASE("who takes tunnels is decided by the agents' selectors and namespaces, where they are told to ztunnel too") {
  const auto takes_tunnels = [](Environment environment) {
    Rig rig(std::move(environment));
    rig.put("pod.yaml", kPod);
    REQUIRE(rig.start());
    return rig.web()->protocol == model::TunnelProtocol::kHbone;
  };
  CHECK(takes_tunnels({}));
  CHECK_FALSE(takes_tunnels({{"EXCLUDE_NAMESPACES", "kube-system,shop"}}));
  CHECK(takes_tunnels({{"EXCLUDE_NAMESPACES", "kube-system"}}));
  CHECK_FALSE(takes_tunnels({{"AMBIENT_ENABLEMENT_SELECTOR", "[{podSelector: {matchLabels: {mesh: in}}}]"}}));
  CHECK(takes_tunnels(
      {{"AMBIENT_ENABLEMENT_SELECTOR", "[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}}]"}}));
}

TEST_CASE("the mesh configuration in the folder comes before the settings, and a broken one keeps what it said") {
  const auto config = [](const std::string& text) {
    return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: mesh-system}\ndata: {mesh: '" + text +
           "'}\n";
  };
  Rig rig(Environment{{"TRUST_DOMAIN", "set.example"}, {"ROOT_NAMESPACE", "mesh-system"}});
  rig.put("pod.yaml", kPod);
  REQUIRE(rig.start());
  CHECK(rig.web()->trust_domain == "set.example");
  rig.put("mesh.yaml", config("trustDomain: bank.example"));
  CHECK(rig.web()->trust_domain == "bank.example");
  CHECK(rig.metric("weft_manifest_errors_total 0"));
  rig.put("mesh.yaml", config("trustDomain: ["));
  CHECK(rig.web()->trust_domain == "bank.example");
  CHECK(rig.metric("weft_manifest_errors_total 1"));
  rig.put("other.yaml", "{}");  // the same error again is the same one
  CHECK(rig.metric("weft_manifest_errors_total 1"));
  rig.put("mesh.yaml", config("trustDomain: new.example"));
  CHECK(rig.web()->trust_domain == "new.example");
}

TEST_CASE("the mesh can be written inside a setting") {
  Rig rig(Environment{{"LOCAL_XDS",
                       "workloads: [{uid: Kubernetes//Pod/shop/web, name: web, namespace: shop, workloadIps: [10.0.0.9], "
                       "services: {}, protocol: HBONE}]\n"}});
  REQUIRE(rig.start());
  REQUIRE(rig.web());
  CHECK(rig.web()->protocol == model::TunnelProtocol::kHbone);
  Rig bad(Environment{{"LOCAL_XDS", "workloads: {}\nsurprise: 1\n"}});
  const auto refused = bad.start();
  REQUIRE(!refused);
  CHECK(refused.error().message().find("surprise") != std::string::npos);
}

TEST_CASE("the mesh is complete when a file that was broken at the start is mended, or goes") {
  for (const bool mended : {true, false}) {
    INFO(mended);
    Rig rig(Environment{});
    rig.put("pod.yaml", kPod);
    rig.put("policy.yaml", "kind: [broken");
    REQUIRE(rig.start());
    Scope scope(rig.loop);
    std::optional<Result<void>> told;
    scope.spawn(wait_complete(*rig.mesh, {}, told));
    rig.loop.run_until_idle();
    CHECK_FALSE(told.has_value());
    if (mended) {
      rig.put("policy.yaml", kHttpDeny);
    } else {
      rig.tree->erase("/state/policy.yaml");
      rig.loop.advance(100ms);
    }
    rig.loop.run_until_idle();
    REQUIRE(told.has_value());
    CHECK(told->has_value());
  }
}

TEST_CASE("who waits for a mesh that is never complete can be stopped") {
  Rig rig(Environment{});
  rig.put("policy.yaml", "kind: [broken");
  REQUIRE(rig.start());
  Scope scope(rig.loop);
  StopSource stop;
  std::optional<Result<void>> told;
  scope.spawn(wait_complete(*rig.mesh, stop.token(), told));
  rig.loop.run_until_idle();
  CHECK_FALSE(told.has_value());
  stop.request_stop();
  rig.loop.run_until_idle();
  REQUIRE(told.has_value());
  REQUIRE_FALSE(told->has_value());
  CHECK(told->error().code() == ErrorCode::kCancelled);
}
