#include "lib/translate/enrolment.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/translate/test_mesh.h"

using namespace weft;
using namespace weft::translate;
using namespace weft::translate::testing;

namespace {

manifest::Labels mode(const char* value) {
  return value ? manifest::Labels{{kDataplaneModeLabel, value}} : manifest::Labels{};
}

}  // namespace

TEST_CASE("labels, host network and sidecars decide whether a pod is in the mesh") {
  struct Row {
    const char *namespace_mode, *pod_mode;
    bool host_network, sidecar;
    Enrolment expected;
  };
  using enum Enrolment;
  const Row rows[] = {
      {"ambient", nullptr, false, false, kYes},
      {"ambient", "ambient", false, false, kYes},
      {"ambient", "", false, false, kYes},
      {"ambient", "None", false, false, kYes},
      {"ambient", "none", false, false, kOptedOut},
      {nullptr, "ambient", false, false, kYes},
      {"none", "ambient", false, false, kYes},
      {nullptr, nullptr, false, false, kNotSelected},
      {"none", nullptr, false, false, kNotSelected},
      {"Ambient", nullptr, false, false, kNotSelected},
      {"", nullptr, false, false, kNotSelected},
      {nullptr, "none", false, false, kOptedOut},
      {nullptr, "yes", false, false, kNotSelected},
      {"ambient", "ambient", true, false, kHostNetwork},
      {"ambient", nullptr, true, true, kHostNetwork},
      {nullptr, nullptr, true, false, kHostNetwork},
      {"ambient", "ambient", false, true, kSidecar},
      {nullptr, nullptr, false, true, kSidecar},
  };
  for (const auto& row : rows) {
    INFO((row.namespace_mode ? row.namespace_mode : "-")
         << " " << (row.pod_mode ? row.pod_mode : "-") << " " << row.host_network << row.sidecar);
    manifest::Meta pod;
    pod.labels = mode(row.pod_mode);
    if (row.sidecar) pod.annotations[kSidecarStatusAnnotation] = "";
    CHECK(decide_enrolment(pod, row.host_network, mode(row.namespace_mode)) == row.expected);
  }
}

TEST_CASE("configured selectors replace the default ones") {
  manifest::Meta pod;
  pod.labels = {{"mesh", "on"}, {kDataplaneModeLabel, "ambient"}};
  std::vector<EnablementSelector> none;
  CHECK(decide_enrolment(pod, false, mode("ambient"), none) == Enrolment::kNotSelected);

  std::vector<EnablementSelector> selectors(1);
  CHECK(decide_enrolment({}, false, {}, selectors) == Enrolment::kYes);  // an empty selector matches everything
  selectors[0].pod.labels = {{"mesh", "on"}};
  selectors[0].namespace_.expressions = {{"tier", "Exists", {}}};
  CHECK(decide_enrolment(pod, false, {}, selectors) == Enrolment::kNotSelected);
  CHECK(decide_enrolment(pod, false, {{"tier", ""}}, selectors) == Enrolment::kYes);
  CHECK(decide_enrolment({}, false, {{"tier", ""}}, selectors) == Enrolment::kNotSelected);
}

TEST_CASE("a selector of namespaces finds them by the name that the API server writes on them") {
  const auto selectors = parse_enablement("[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}}]");
  REQUIRE(selectors);
  manifest::Meta pod;
  pod.namespace_ = "shop";
  CHECK(decide_enrolment(pod, false, {}, *selectors) == Enrolment::kYes);
  CHECK(decide_enrolment(pod, false, {{"kubernetes.io/metadata.name", "shop"}}, *selectors) == Enrolment::kYes);
  pod.namespace_ = "other";
  CHECK(decide_enrolment(pod, false, {}, *selectors) == Enrolment::kNotSelected);
}

TEST_CASE("selectors that say something else are refused, not ignored") {
  for (const auto* yaml :
       {"- podSelector: {matchLabel: {a: b}}", "- pod: {}", "- podSelector: 7", "- 3",
        "- podSelector: {matchExpressions: [{key: a, operator: Is}]}", "- podSelector: {matchLabels: {a: [b]}}", "[", ""}) {
    INFO(yaml);
    CHECK_FALSE(parse_enablement(yaml));
  }
}

TEST_CASE("names of namespaces are separated by commas") {
  CHECK(parse_namespaces("").empty());
  CHECK(parse_namespaces(" a,, b ,c").size() == 3);
  CHECK(parse_namespaces(" a,, b ,c").contains("b"));
}

TEST_CASE("enrolled pods take tunnels, others do not") {
  constexpr const char* kPods = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: in, namespace: shop, annotations: {sidecar.istio.io/inject: "false"}}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: out, namespace: shop, labels: {istio.io/dataplane-mode: none}, annotations: {ambient.istio.io/redirection: enabled}}
status: {podIP: 10.0.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: pending, namespace: shop, annotations: {ambient.istio.io/redirection: pending}}
status: {podIP: 10.0.0.3}
---
apiVersion: v1
kind: Pod
metadata: {name: nowhere, namespace: other}
status: {podIP: 10.0.0.4}
---
apiVersion: v1
kind: Pod
metadata: {name: native, namespace: other, labels: {networking.istio.io/tunnel: http}}
status: {podIP: 10.0.0.5}
)";
  using enum model::TunnelProtocol;
  auto mesh = make_mesh(kPods);
  CHECK(mesh.workload("in")->protocol == kHbone);
  CHECK(mesh.workload("out")->protocol == kNone);
  CHECK(mesh.workload("pending")->protocol == kHbone);
  CHECK(mesh.workload("nowhere")->protocol == kNone);
  CHECK(mesh.workload("native")->protocol == kHbone);
  CHECK(mesh.workload("native")->native_tunnel);
  // The annotation that speaks of sidecars changes nothing, and the object is told how to opt out.
  const auto* advice = mesh.condition("in", kFullyApplied, "NoEffectInAmbient");
  REQUIRE(advice);
  CHECK(advice->message.find("istio.io/dataplane-mode=none") != std::string::npos);

  Options options;
  options.tunnel_evidence = TunnelEvidence::kAnnotation;
  mesh = make_mesh(kPods, options);
  CHECK(mesh.workload("in")->protocol == kNone);
  CHECK(mesh.workload("out")->protocol == kHbone);
  CHECK(mesh.workload("pending")->protocol == kNone);
  CHECK(mesh.workload("native")->protocol == kHbone);
}

TEST_CASE("pods of a namespace that the agents leave out take no tunnels, whatever their labels say") {
  constexpr const char* kPods = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, annotations: {ambient.istio.io/redirection: enabled}}
status: {podIP: 10.0.0.1}
)";
  Options options;
  CHECK(make_mesh(kPods, options).workload("web")->protocol == model::TunnelProtocol::kHbone);
  options.excluded_namespaces = {"other"};
  CHECK(make_mesh(kPods, options).workload("web")->protocol == model::TunnelProtocol::kHbone);
  options.excluded_namespaces = {"shop"};
  CHECK(make_mesh(kPods, options).workload("web")->protocol == model::TunnelProtocol::kNone);
  // An agent that writes what it did is believed.
  options.tunnel_evidence = TunnelEvidence::kAnnotation;
  CHECK(make_mesh(kPods, options).workload("web")->protocol == model::TunnelProtocol::kHbone);
}
