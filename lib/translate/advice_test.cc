#include <catch2/catch_test_macros.hpp>

#include "lib/translate/test_mesh.h"

using namespace weft;
using namespace weft::translate;
using namespace weft::translate::testing;

TEST_CASE("kinds that nothing serves yet are accepted and told so") {
  struct Row {
    const char *version, *kind, *reason;
  };
  for (const auto& row : {
           Row{"networking.istio.io/v1beta1", "VirtualService", "NoWaypoint"},
           Row{"networking.istio.io/v1", "DestinationRule", "NoWaypoint"},
           Row{"networking.istio.io/v1", "Gateway", "NoMatchingWorkloads"},
           Row{"networking.istio.io/v1", "Sidecar", "NoEffectInAmbient"},
           Row{"networking.istio.io/v1alpha3", "EnvoyFilter", "UnsupportedPatch"},
           Row{"security.istio.io/v1", "RequestAuthentication", "NoEffectInAmbient"},
           Row{"telemetry.istio.io/v1", "Telemetry", "NoWaypoint"},
           Row{"extensions.istio.io/v1alpha1", "WasmPlugin", "NoEffectInAmbient"},
           Row{"gateway.networking.k8s.io/v1", "HTTPRoute", "NoWaypoint"},
           Row{"linkerd.io/v1alpha2", "ServiceProfile", "UnsupportedKind"},
           Row{"consul.hashicorp.com/v1alpha1", "ServiceSplitter", "UnsupportedKind"},
           Row{"v1", "Secret", "Accepted"},
           Row{"rbac.authorization.k8s.io/v1", "ClusterRole", "Accepted"},
       }) {
    INFO(row.kind);
    const auto mesh = make_mesh(std::string("{apiVersion: ") + row.version + ", kind: " + row.kind +
                                ", metadata: {name: x, namespace: shop}}");
    REQUIRE(mesh.output.statuses.size() == 1);
    CHECK(mesh.condition("x", kAccepted, "Accepted")->status == "True");
    CHECK(mesh.condition("x", kFullyApplied, row.reason));
  }
}

namespace {

// All that was said about `object` with this reason and level, or "-" when nothing was.
std::string said(const Mesh& mesh, std::string_view object, std::string_view reason, Level level) {
  std::string out;
  for (const auto& status : mesh.output.statuses) {
    if (status.object->meta.name != object) continue;
    for (const auto& condition : status.conditions) {
      if (condition.reason == reason && condition.level == level) out += condition.message + "\n";
    }
  }
  return out.empty() ? "-" : out;
}

bool mentions(const std::string& text, const char* word) { return text.find(word) != std::string::npos; }

constexpr const char* kNetworking = "apiVersion: networking.istio.io/v1\n";

}  // namespace

TEST_CASE("a subset is looked up in the rules of its host, written short or in full") {
  const auto mesh =
      make_mesh(std::string(kNetworking) +
                "kind: DestinationRule\nmetadata: {name: r, namespace: shop}\n"
                "spec: {host: web.shop.svc.cluster.local, subsets: [{name: v1}]}\n---\n" +
                kNetworking +
                "kind: VirtualService\nmetadata: {name: v, namespace: shop}\nspec:\n  hosts: [web]\n  http:\n"
                "  - route: [{destination: {host: web, subset: v1}}, {destination: {host: web, subset: v2}}]\n");
  const auto text = said(mesh, "v", "ReferenceNotFound", Level::kError);
  CHECK(mentions(text, "spec.http[0].route[1].destination.subset"));
  CHECK(!mentions(text, "v1"));
}

TEST_CASE("a retry condition that is none is named") {
  const auto mesh = make_mesh(std::string(kNetworking) +
                              "kind: VirtualService\nmetadata: {name: v, namespace: shop}\nspec:\n  hosts: [web]\n  http:\n"
                              "  - retries: {attempts: 2, retryOn: '5xx,503, gateway-eror,cancelled'}\n");
  const auto text = said(mesh, "v", "FieldIgnored", Level::kWarning);
  CHECK(mentions(text, "\"gateway-eror\""));
  CHECK(!mentions(text, "503"));
  CHECK(!mentions(text, "cancelled"));
}

TEST_CASE("a VirtualService for a gateway says so, and names a gateway that is not there") {
  const auto mesh = make_mesh(std::string(kNetworking) +
                              "kind: VirtualService\nmetadata: {name: v, namespace: shop}\n"
                              "spec: {hosts: [a.example], gateways: [front]}\n");
  CHECK(mentions(said(mesh, "v", "ReferenceNotFound", Level::kWarning), "front"));
  CHECK(said(mesh, "v", "NoMatchingWorkloads", Level::kWarning) != "-");
  CHECK(said(mesh, "v", "NoWaypoint", Level::kWarning) == "-");
}

TEST_CASE("a listener's certificate is looked for in the gateway's namespace") {
  const std::string gateway = std::string(kNetworking) +
                              "kind: Gateway\nmetadata: {name: g, namespace: shop}\n"
                              "spec: {servers: [{port: {number: 443}, tls: {credentialName: cert}}]}\n";
  CHECK(mentions(said(make_mesh(gateway), "g", "ReferenceNotFound", Level::kWarning), "namespace shop"));
  const auto secret = "---\n{apiVersion: v1, kind: Secret, metadata: {name: cert, namespace: shop}}\n";
  CHECK(said(make_mesh(gateway + secret), "g", "ReferenceNotFound", Level::kWarning) == "-");
}

TEST_CASE("a field of the wrong shape in a kind without a type is named once") {
  const auto mesh =
      make_mesh(std::string(kNetworking) +
                "kind: VirtualService\nmetadata: {name: v, namespace: shop}\nspec: {hosts: [a], http: wrong}\n");
  const auto text = said(mesh, "v", "InvalidValue", Level::kError);
  CHECK(text == "spec.http: expected a list, found a plain value\n");
}

TEST_CASE("a namespace that asks for sidecars is told which label it wants") {
  const auto mesh =
      make_mesh("{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {istio-injection: enabled}}}");
  CHECK(mentions(said(mesh, "default", "NoEffectInAmbient", Level::kWarning), "istio.io/dataplane-mode=ambient"));
}

TEST_CASE("a policy that names callers is told about the waypoint in between") {
  const auto mesh = make_mesh(
      "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio.io/use-waypoint: w}}}\n---\n"
      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\n"
      "spec: {rules: [{from: [{source: {namespaces: [other]}}]}]}\n");
  CHECK(mentions(said(mesh, "p", "Info", Level::kWarning), "the waypoint's identity"));
}

TEST_CASE("a tag that never ends and an expression that is none are named") {
  const auto mesh = make_mesh(
      "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: t, namespace: shop}\nspec:\n  metrics:\n"
      "  - overrides:\n    - match: {metric: istio_request_bytes}\n      tagOverrides:\n"
      "        id: {value: \"request.headers['x-request-id']\"}\n        odd: {value: '%{X}'}\n");
  CHECK(mentions(said(mesh, "t", "UnboundedCardinality", Level::kWarning), "tagOverrides.id"));
  CHECK(mentions(said(mesh, "t", "InvalidExpression", Level::kWarning), "tagOverrides.odd"));
  CHECK(mentions(said(mesh, "t", "Interpreted", Level::kWarning), "REQUEST_SIZE"));
}

TEST_CASE("each patch of Envoy's configuration is named") {
  const auto mesh = make_mesh(
      "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: e, namespace: shop}\nspec:\n"
      "  configPatches:\n  - {applyTo: CLUSTER, patch: {operation: MERGE}}\n"
      "  - {applyTo: HTTP_FILTER, patch: {operation: INSERT_BEFORE}}\n");
  const auto text = said(mesh, "e", "UnsupportedPatch", Level::kWarning);
  CHECK(mentions(text, "CLUSTER MERGE"));
  CHECK(mentions(text, "HTTP_FILTER INSERT_BEFORE"));
}

TEST_CASE("the mesh configuration counts under one name only, and text that is no map is an error") {
  auto config = [](const char* name, const char* text) {
    return std::string("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ") + name +
           ", namespace: istio-system}\ndata:\n  mesh: \"" + text + "\"\n";
  };
  CHECK(said(make_mesh(config("istio", "{trustDomain: a, rootNamespace: istio-system, extensionProviders: []}")), "istio",
             "Info", Level::kWarning) == "-");
  CHECK(mentions(said(make_mesh(config("istio", "{trustDomain: a}")), "istio", "Info", Level::kWarning), "rootNamespace"));
  CHECK(said(make_mesh(config("other", "{trustDomain: a}")), "other", "NotMeshConfig", Level::kWarning) != "-");
  CHECK(said(make_mesh(config("istio", "[broken")), "istio", "InvalidValue", Level::kError) != "-");
}

TEST_CASE("what is wrong with a certificate is told without showing it") {
  const auto mesh = make_mesh(
      "apiVersion: v1\nkind: Secret\nmetadata: {name: cacerts, namespace: istio-system}\n"
      "data: {ca-key.pem: c2VjcmV0, ca-cert.pem: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t}\n");
  const auto text = said(mesh, "cacerts", "InvalidCertificate", Level::kError);
  CHECK(mentions(text, "ca-key.pem"));
  CHECK(!mentions(text, "c2VjcmV0"));
  CHECK(!mentions(text, "ca-cert.pem"));
}

TEST_CASE("a filter of another mesh is read as far as it can be") {
  const auto mesh = make_mesh(
      "apiVersion: consul.hashicorp.com/v1alpha1\nkind: ServiceResolver\nmetadata: {name: web, namespace: shop}\nspec:\n"
      "  subsets: {v1: {filter: 'version == \"v1\"'}, v2: {filter: 'f(x)'}, v3: {filter: 'Service.Meta.version == v3'}}\n");
  CHECK(mentions(said(mesh, "web", "Interpreted", Level::kWarning), "subsets.v1"));
  const auto text = said(mesh, "web", "InvalidExpression", Level::kWarning);
  CHECK(mentions(text, "subsets.v2"));
  CHECK(!mentions(text, "subsets.v3"));
}

TEST_CASE("a field with another name in the API is taken for the one that was meant") {
  const auto mesh = make_mesh(std::string(kNetworking) +
                              "kind: DestinationRule\nmetadata: {name: r, namespace: shop}\n"
                              "spec: {host: web, trafficPolicy: {connectionPool: {tcp: {keepAlive: {time: 1s}}}}}\n");
  CHECK(mentions(said(mesh, "r", "Interpreted", Level::kWarning), "taken as tcpKeepalive"));
  CHECK(said(mesh, "r", "FieldIgnored", Level::kWarning) == "-");
}
