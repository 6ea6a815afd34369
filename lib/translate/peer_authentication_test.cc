#include <catch2/catch_test_macros.hpp>

#include "lib/translate/test_mesh.h"

using namespace weft;
using namespace weft::translate;
using namespace weft::translate::testing;

namespace {

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
)";

std::string peer(const std::string& name, const std::string& meta, const std::string& spec) {
  return "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: " + name + ", " + meta +
         "}\nspec: {" + spec + "}\n---\n";
}
std::string mesh_wide(const std::string& mode) {
  return mode.empty() ? "" : peer("mesh", "namespace: istio-system", "mtls: {mode: " + mode + "}");
}
std::string of_namespace(const std::string& mode) {
  return mode.empty() ? "" : peer("ns", "namespace: shop", "mtls: {mode: " + mode + "}");
}
std::string of_web(const std::string& mode, const std::string& ports = "") {
  if (mode.empty() && ports.empty()) return "";
  return peer("web", "namespace: shop",
              "selector: {matchLabels: {app: web}}" + (mode.empty() ? "" : ", mtls: {mode: " + mode + "}") +
                  (ports.empty() ? "" : ", portLevelMtls: {" + ports + "}"));
}

// Where plain text gets in: "*", "8080", "9090" or "". Mesh peers always get in.
std::string plain(const Mesh& mesh, const char* workload = "web") {
  for (const std::uint16_t port : {8080, 9090}) {
    REQUIRE(mesh.verdict(workload, connection("shop/frontend", "10.0.0.1", port)).allowed);
    REQUIRE(mesh.verdict(workload, connection("other/job", "10.1.0.1", port)).allowed);
  }
  const bool first = mesh.verdict(workload, connection("", "172.16.5.5", 8080)).allowed;
  const bool second = mesh.verdict(workload, connection("", "172.16.5.5", 9090)).allowed;
  return first && second ? "*" : first ? "8080" : second ? "9090" : "";
}

}  // namespace

TEST_CASE("the mode comes from the workload, else the namespace, else the mesh") {
  struct Row {
    const char *mesh, *ns, *workload;
    const char *web, *db;
  };
  for (const auto& row : {
           Row{"", "", "", "*", "*"},
           Row{"STRICT", "", "", "", ""},
           Row{"PERMISSIVE", "", "", "*", "*"},
           Row{"DISABLE", "", "", "*", "*"},
           Row{"UNSET", "", "", "*", "*"},
           Row{"", "STRICT", "", "", ""},
           Row{"STRICT", "PERMISSIVE", "", "*", "*"},
           Row{"STRICT", "DISABLE", "", "*", "*"},
           Row{"STRICT", "UNSET", "", "", ""},
           Row{"PERMISSIVE", "STRICT", "", "", ""},
           Row{"PERMISSIVE", "UNSET", "", "*", "*"},
           Row{"", "", "STRICT", "", "*"},
           Row{"STRICT", "", "PERMISSIVE", "*", ""},
           Row{"STRICT", "", "DISABLE", "*", ""},
           Row{"STRICT", "", "UNSET", "", ""},
           Row{"STRICT", "PERMISSIVE", "UNSET", "*", "*"},
           Row{"PERMISSIVE", "STRICT", "UNSET", "", ""},
           Row{"PERMISSIVE", "PERMISSIVE", "STRICT", "", "*"},
           Row{"STRICT", "STRICT", "PERMISSIVE", "*", ""},
       }) {
    INFO(row.mesh << "/" << row.ns << "/" << row.workload);
    const auto mesh = make_mesh(kPods + mesh_wide(row.mesh) + of_namespace(row.ns) + of_web(row.workload));
    CHECK(plain(mesh) == row.web);
    CHECK(plain(mesh, "db") == row.db);
  }
}

TEST_CASE("ports of a workload may differ from its mode") {
  struct Row {
    const char *mesh, *ns, *workload, *ports;
    const char* web;
  };
  for (const auto& row : {
           Row{"", "", "STRICT", "9090: {mode: PERMISSIVE}", "9090"},
           Row{"", "", "STRICT", "9090: {mode: DISABLE}", "9090"},
           Row{"", "", "STRICT", "8080: {mode: PERMISSIVE}, 9090: {mode: DISABLE}", "*"},
           Row{"", "", "STRICT", "9090: {mode: STRICT}", ""},
           Row{"", "", "STRICT", "9090: {mode: UNSET}", ""},
           Row{"", "", "PERMISSIVE", "9090: {mode: STRICT}", "8080"},
           Row{"", "", "PERMISSIVE", "9090: {mode: STRICT}, 8080: {mode: PERMISSIVE}", "8080"},
           Row{"", "", "PERMISSIVE", "8080: {mode: STRICT}, 9090: {mode: STRICT}", ""},
           Row{"", "", "DISABLE", "9090: {mode: STRICT}", "8080"},
           Row{"", "", "", "9090: {mode: STRICT}", "8080"},
           Row{"STRICT", "", "", "9090: {mode: PERMISSIVE}", "9090"},
           Row{"", "STRICT", "", "9090: {mode: PERMISSIVE}", "9090"},
           Row{"STRICT", "PERMISSIVE", "", "9090: {mode: STRICT}", "8080"},
           Row{"PERMISSIVE", "", "", "9090: {mode: PERMISSIVE}", "*"},
           // As Istio: below an inherited STRICT, DISABLE alone opens nothing.
           Row{"STRICT", "", "", "9090: {mode: DISABLE}", ""},
           Row{"STRICT", "", "UNSET", "9090: {mode: DISABLE}, 8080: {mode: PERMISSIVE}", "*"},
           // Unlike Istio, which leaves this port open: enforced.
           Row{"STRICT", "", "PERMISSIVE", "9090: {mode: STRICT}", "8080"},
           Row{"STRICT", "STRICT", "PERMISSIVE", "9090: {mode: STRICT}", "8080"},
           // What cannot be read is strict.
           Row{"", "", "PERMISSIVE", "9090: {mode: Permissive}", "8080"},
       }) {
    INFO(row.mesh << "/" << row.ns << "/" << row.workload << " " << row.ports);
    const auto mesh = make_mesh(kPods + mesh_wide(row.mesh) + of_namespace(row.ns) + of_web(row.workload, row.ports));
    CHECK(plain(mesh) == row.web);
    // The other workload keeps what it inherits.
    const bool inherits_strict =
        std::string_view(row.ns) == "STRICT" || (std::string_view(row.mesh) == "STRICT" && !*row.ns);
    CHECK(plain(mesh, "db") == (inherits_strict ? "" : "*"));
  }
}

TEST_CASE("strict workloads share one policy, exceptions have their own") {
  auto mesh = make_mesh(kPods + mesh_wide("STRICT") + of_web("", "9090: {mode: PERMISSIVE}"));
  const auto* strict = mesh.policy("istio-system/istio_converted_static_strict");
  REQUIRE(strict);
  CHECK(strict->scope == model::PolicyScope::kWorkloadSelector);
  CHECK(strict->action == model::PolicyAction::kDeny);
  CHECK(mesh.workload("db")->authorization_policies ==
        std::vector<std::string>{"istio-system/istio_converted_static_strict"});
  CHECK(mesh.workload("web")->authorization_policies == std::vector<std::string>{"shop/converted_peer_authentication_web"});
  CHECK(mesh.verdict("db", connection("", "172.16.5.5", 80)).reason() ==
        "explicitly denied by: istio-system/istio_converted_static_strict");
  CHECK(mesh.verdict("web", connection("", "172.16.5.5", 80)).reason() ==
        "explicitly denied by: shop/converted_peer_authentication_web");
  // It is there as soon as there is any PeerAuthentication, and only then.
  CHECK(make_mesh(kPods + of_namespace("PERMISSIVE")).policy("istio-system/istio_converted_static_strict"));
  CHECK(make_mesh(kPods).output.policies.empty());
  Options options;
  options.root_namespace = "mesh-root";
  mesh = make_mesh(kPods + peer("mesh", "namespace: mesh-root", "mtls: {mode: STRICT}"), options);
  CHECK(mesh.policy("mesh-root/istio_converted_static_strict"));
  CHECK(plain(mesh) == "");
}

TEST_CASE("among equals the oldest counts, and one without a time is the newest") {
  const auto strict = [](const char* meta) {
    return peer("a-strict", std::string("namespace: shop, ") + meta, "mtls: {mode: STRICT}");
  };
  const auto open = [](const char* meta) {
    return peer("b-open", std::string("namespace: shop, ") + meta, "mtls: {mode: PERMISSIVE}");
  };
  const char* early = "creationTimestamp: '2020-01-01T00:00:00Z'";
  const char* late = "creationTimestamp: '2021-01-01T00:00:00Z'";
  CHECK(plain(make_mesh(kPods + strict(early) + open(late))) == "");
  CHECK(plain(make_mesh(kPods + strict(late) + open(early))) == "*");
  CHECK(plain(make_mesh(kPods + strict("") + open(late))) == "*");
  CHECK(plain(make_mesh(kPods + strict("") + open(""))) == "");  // by name
  CHECK(plain(make_mesh(kPods + open("") + strict(""))) == "");
  CHECK(make_mesh(kPods + strict(early) + open(late)).condition("b-open", kFullyApplied, "FieldIgnored"));
  const auto selected = [](const char* name, const char* meta, const char* mode) {
    return peer(name, std::string("namespace: shop, ") + meta,
                std::string("selector: {matchLabels: {app: web}}, mtls: {mode: ") + mode + "}");
  };
  CHECK(plain(make_mesh(kPods + selected("x", late, "STRICT") + selected("y", early, "PERMISSIVE"))) == "*");
}

TEST_CASE("selectors of the root namespace and ports without selector have no effect, and it is said") {
  auto mesh =
      make_mesh(kPods + peer("p", "namespace: istio-system", "selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}"));
  CHECK(plain(mesh) == "*");
  CHECK(mesh.condition("p", kFullyApplied, "FieldIgnored"));
  mesh = make_mesh(kPods + peer("p", "namespace: shop", "mtls: {mode: STRICT}, portLevelMtls: {9090: {mode: PERMISSIVE}}"));
  CHECK(plain(mesh) == "");
  CHECK(mesh.condition("p", kFullyApplied, "FieldIgnored"));
  mesh = make_mesh(kPods + of_web("", "9090: {mode: DISABLE}") + mesh_wide("STRICT"));
  CHECK(mesh.condition("web", kFullyApplied, "FieldIgnored"));
  CHECK(make_mesh(kPods + of_web("DISABLE")).condition("web", kFullyApplied, "Interpreted"));
}

TEST_CASE("a mode that cannot be read is strict") {
  for (const char* spec : {"mtls: {mode: strict}", "mtls: {mode: OFF}", "mtls: PERMISSIVE", "mtls: {mode: [a]}"}) {
    INFO(spec);
    const auto mesh = make_mesh(kPods + peer("p", "namespace: shop", spec));
    CHECK(plain(mesh) == "");
    CHECK(mesh.condition("p", kFullyApplied, "InvalidValue"));
  }
}
