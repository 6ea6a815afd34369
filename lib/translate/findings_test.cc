// What is said about workloads, services and policies that are fine to read and hardly what was meant.
#include <catch2/catch_test_macros.hpp>

#include "lib/translate/test_mesh.h"

using namespace weft;
using namespace weft::translate;
using namespace weft::translate::testing;

namespace {

constexpr const char* kNetworking = "apiVersion: networking.istio.io/v1\n";

std::string entry(const std::string& name, const std::string& spec) {
  return std::string(kNetworking) + "kind: ServiceEntry\nmetadata: {name: " + name + ", namespace: shop}\nspec: {" + spec +
         "}\n---\n";
}

std::string policy(const std::string& name, const std::string& ns, const std::string& spec) {
  return "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: " + name + ", namespace: " + ns +
         "}\nspec: {" + spec + "}\n---\n";
}

constexpr const char* kPod = R"(
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: shop, labels: {app: web}}
status: {podIP: 10.0.0.1}
---
)";

}  // namespace

TEST_CASE("a TCP service entry without an address is told that it is not recognised") {
  const std::string tcp = "hosts: [a.example.com], ports: [{number: 22, name: ssh, protocol: ";
  CHECK(make_mesh(entry("e", tcp + "TCP}]")).condition("e", kFullyApplied, "AddressMissing"));
  CHECK(make_mesh(entry("e", tcp + "tcp}]")).condition("e", kFullyApplied, "AddressMissing"));
  CHECK(!make_mesh(entry("e", tcp + "HTTPS}]")).condition("e", kFullyApplied, "AddressMissing"));
  CHECK(!make_mesh(entry("e", tcp + "TCP}], addresses: [10.97.0.1]")).condition("e", kFullyApplied, "AddressMissing"));
  const std::string allocating = R"(
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'defaultConfig: {proxyMetadata: {ISTIO_META_DNS_AUTO_ALLOCATE: "true"}}'}
---
)";
  CHECK(!make_mesh(allocating + entry("e", tcp + "TCP}]")).condition("e", kFullyApplied, "AddressMissing"));
}

TEST_CASE("service entries that disagree about the protocol of one port are told") {
  const auto mesh = make_mesh(entry("a", "hosts: [x.example.com], ports: [{number: 443, name: a, protocol: HTTPS}]") +
                              entry("b", "hosts: [x.example.com], ports: [{number: 443, name: b, protocol: HTTP}]") +
                              entry("c", "hosts: [y.example.com], ports: [{number: 443, name: c, protocol: HTTP}]") +
                              entry("d", "hosts: [x.example.com], ports: [{number: 80, name: d, protocol: HTTP}]"));
  CHECK(mesh.condition("a", kFullyApplied, "ConflictingProtocol"));
  CHECK(mesh.condition("b", kFullyApplied, "ConflictingProtocol"));
  CHECK(!mesh.condition("c", kFullyApplied, "ConflictingProtocol"));
  CHECK(!mesh.condition("d", kFullyApplied, "ConflictingProtocol"));
}

TEST_CASE("a policy that finds no workload is told, in the root namespace when there is none anywhere") {
  const auto mesh = make_mesh(
      kPod + policy("found", "shop", "selector: {matchLabels: {app: web}}") +
      policy("lost", "shop", "selector: {matchLabels: {app: gone}}") + policy("empty", "void", "") +
      policy("all", "shop", "") + policy("root", "istio-system", "selector: {matchLabels: {app: web}}") +
      policy("nowhere", "istio-system", "selector: {matchLabels: {app: gone}}") + policy("mesh", "istio-system", ""));
  for (const auto* name : {"lost", "empty", "nowhere"}) CHECK(mesh.condition(name, kFullyApplied, "NoMatchingWorkloads"));
  for (const auto* name : {"found", "all", "root", "mesh"})
    CHECK(!mesh.condition(name, kFullyApplied, "NoMatchingWorkloads"));
}

TEST_CASE("namespaces that a policy names and nobody describes are told once some are described") {
  const auto rules = [](const std::string& names) { return "rules: [{from: [{source: {namespaces: [" + names + "]}}]}]"; };
  const std::string known = "apiVersion: v1\nkind: Namespace\nmetadata: {name: prod-web}\n---\n";
  const auto told = [&](const std::string& before, const std::string& names) {
    return make_mesh(before + policy("p", "shop", rules(names))).condition("p", kFullyApplied, "ReferenceNotFound") !=
           nullptr;
  };
  CHECK(told(known, "gone"));
  CHECK(told(known, "'*-gone', prod-web"));
  CHECK(!told(known, "'prod-*', '*-web', '*', prod-web"));
  CHECK(!told("", "gone"));
  CHECK(make_mesh(known + policy("p", "shop", "rules: [{when: [{key: source.namespace, notValues: [gone]}]}]"))
            .condition("p", kFullyApplied, "ReferenceNotFound"));
}

TEST_CASE("a workload entry's address and port names are checked") {
  struct Row {
    const char* spec;
    const char* mentions;  // of an InvalidValue; empty: none
  };
  for (const auto& row : {
           Row{"address: 192.0.2.1, ports: {http: 80}", ""},
           Row{"address: example.com", ""},
           Row{"network: n", ""},
           Row{"address: 'unix:///run/app.sock'", ""},
           Row{"address: 'unix://@app'", ""},
           Row{"address: 'unix:///run/'", "folder"},
           Row{"address: 'unix://app'", "absolute"},
           Row{"address: 'unix://@app', ports: {http: 80}", "no ports"},
           Row{"address: 192.0.2.1, ports: {'@': 80}", "name of a port"},
           Row{"address: 192.0.2.1, ports: {http: 70000}", "65535"},
           Row{"labels: {a: b}", "missing"},
       }) {
    INFO(row.spec);
    const auto mesh = make_mesh(std::string(kNetworking) +
                                "kind: WorkloadEntry\nmetadata: {name: w, namespace: shop}\nspec: {" + row.spec + "}\n");
    const auto* found = mesh.condition("w", kFullyApplied, "InvalidValue");
    CHECK((found != nullptr) == (*row.mentions != 0));
    if (found) CHECK(found->message.find(row.mentions) != std::string::npos);
  }
}

TEST_CASE("a workload group is a template that nobody uses, and its account is somebody") {
  const auto mesh = make_mesh(std::string(kNetworking) + R"(kind: WorkloadGroup
metadata: {name: g, namespace: shop}
spec: {metadata: {labels: {app: vm}}, template: {serviceAccount: vm, address: 192.0.2.1}}
---
)" + policy("p", "shop", "rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/vm]}}]}]"));
  CHECK(mesh.output.workloads.empty());
  CHECK(mesh.condition("g", kFullyApplied, "Info"));
  CHECK(!mesh.condition("p", kFullyApplied, "PrincipalNotInUse"));
}

TEST_CASE("a service's unnamed port is remarked on outside the system's namespaces") {
  const auto unnamed = [](const char* ns) {
    return make_mesh(std::string("apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: ") + ns +
                     "}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n")
               .condition("s", kFullyApplied, "Info") != nullptr;
  };
  CHECK(unnamed("shop"));
  CHECK(!unnamed("kube-system"));
  CHECK(!unnamed("istio-system"));
}

TEST_CASE("a port that cannot be read and is STRICT means every port") {
  const auto with_port = [](const std::string& port) {
    return make_mesh(std::string(kPod) +
                     "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: pa, namespace: "
                     "shop}\nspec: {selector: {matchLabels: {app: web}}, portLevelMtls: {" +
                     port + "}}\n");
  };
  const auto let_in = [&](const Mesh& mesh, std::uint16_t port) {
    return mesh.verdict("p", connection("", "172.16.5.5", port)).allowed;
  };
  const auto good = with_port("'8080': {mode: STRICT}");
  CHECK(!let_in(good, 8080));
  CHECK(let_in(good, 9090));
  for (const auto* port :
       {"web: {mode: STRICT}", "'0': {mode: STRICT}", "'70000': {mode: STRICT}", "web: {mode: NONSENSE}"}) {
    INFO(port);
    const auto bad = with_port(port);
    CHECK(!let_in(bad, 8080));
    CHECK(!let_in(bad, 9090));
    CHECK(bad.condition("pa", kFullyApplied, "InvalidValue"));
  }
  CHECK(let_in(with_port("web: {mode: PERMISSIVE}"), 8080));
  CHECK(with_port("").condition("pa", kFullyApplied, "FieldIgnored"));
}

TEST_CASE("what the API server would refuse of a Telemetry is told") {
  const auto told = [](const std::string& metrics) {
    return make_mesh(
               "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: t, namespace: shop}\nspec: {metrics: "
               "[" +
               metrics + "]}\n")
               .condition("t", kFullyApplied, "InvalidValue") != nullptr;
  };
  CHECK(told("{providers: [{name: ''}]}"));
  CHECK(!told("{providers: [{name: prometheus}]}"));
  CHECK(told("{overrides: [{match: {customMetric: ''}}]}"));
  CHECK(!told("{overrides: [{match: {customMetric: x}}]}"));
  CHECK(told("{overrides: [{tagOverrides: {a: {operation: UPSERT}}}]}"));
  CHECK(told("{overrides: [{tagOverrides: {a: {operation: REMOVE, value: x}}}]}"));
  CHECK(!told("{overrides: [{tagOverrides: {a: {operation: UPSERT, value: x}, b: {operation: REMOVE}, c: {value: y}}}]}"));
}

TEST_CASE("a policy with a word misspelt outside its rules denies what it may cover, and says so") {
  struct Row {
    const char* spec;
    bool let_in;
  };
  for (const auto& row : {
           Row{"action: ALLOW, rules: [{}]", true},
           Row{"acton: DENY, rules: [{}]", false},
           Row{"action: DENY, rulez: [{}]", false},
           Row{"selector: {matchlabels: {app: web}}, rules: [{}]", false},
           Row{"selektor: {matchLabels: {app: other}}, rules: [{}]", false},
           // Nothing is misspelt here: as written it denies nothing, and that is told.
           Row{"action: DENY", true},
       }) {
    INFO(row.spec);
    const auto mesh = make_mesh(kPod + policy("p", "shop", row.spec));
    CHECK(mesh.verdict("p", connection("shop/a", "10.0.0.1", 80)).allowed == row.let_in);
    const bool told =
        mesh.condition("p", kFullyApplied, "InvalidValue") || mesh.condition("p", kFullyApplied, "FieldIgnored");
    CHECK(told == (std::string(row.spec) != "action: ALLOW, rules: [{}]"));
  }
}

TEST_CASE("a peer authentication that says more than can be read is STRICT") {
  const auto let_in = [](const std::string& spec) {
    return make_mesh(
               std::string(kPod) +
               "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: pa, namespace: shop}\nspec: " +
               spec + "\n")
        .verdict("p", connection("", "172.16.5.5", 8080))
        .allowed;
  };
  CHECK(let_in("{mtls: {mode: PERMISSIVE}}"));
  CHECK(let_in("{selector: {matchLabels: {app: other}}, mtls: {mode: STRICT}}"));
  CHECK(let_in("{mtls: {mode: PERMISSIVE}, portLevelMtls: null}\nstatus: {conditions: []}"));
  for (const auto* spec : {"{mtsl: {mode: STRICT}}", "{mtls: {mode: PERMISSIVE}, portLevelMTLS: {8080: {mode: STRICT}}}",
                           "{selector: {matchlabels: {app: other}}, mtls: {mode: PERMISSIVE}}", "[]", "{selector: [x]}",
                           "{mtls: {mode: PERMISSIVE}, portLevelMtls: [{8080: {mode: STRICT}}]}",
                           "{mtls: {mode: PERMISSIVE}, portLevelMtls: 8080}", "{}\nmtls: {mode: STRICT}"}) {
    INFO(spec);
    CHECK(!let_in(spec));
  }
}

TEST_CASE("a kind of Istio's that does not exist is told to have no effect") {
  const auto told = [](const char* kind) {
    return make_mesh(std::string("{apiVersion: security.istio.io/v1, kind: ") + kind +
                     ", metadata: {name: x, namespace: shop}}")
               .condition("x", kFullyApplied, "UnsupportedKind") != nullptr;
  };
  CHECK(told("AuthorisationPolicy"));
  CHECK(!told("AuthorizationPolicy"));
  CHECK(!told("RequestAuthentication"));
}
