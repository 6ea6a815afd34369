#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "lib/manifest/documents.h"
#include "lib/manifest/schema.h"
#include "lib/manifest/test_manifest.h"

using namespace weft;
using namespace weft::manifest;

TEST_CASE("a pod is read with what the mesh needs of it") {
  auto result = yaml(R"(
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  namespace: shop
  uid: 6c1
  labels: {app: web, version: "1"}
  annotations: {weft.io/netns: /run/netns/web-1}
  ownerReferences:
  - {apiVersion: apps/v1, kind: ReplicaSet, name: web-7d9f, controller: true, uid: x}
spec:
  nodeName: n1
  serviceAccountName: web
  initContainers:
  - {name: once, image: i, ports: [{name: gone, containerPort: 1}]}
  - {name: side, image: i, restartPolicy: Always, ports: [{name: side, containerPort: 9000}]}
  containers:
  - name: main
    image: web:v1
    ports:
    - {name: http, containerPort: 8080}
    - {name: dns, containerPort: 53, protocol: UDP}
status:
  phase: Running
  podIP: 10.1.0.5
  podIPs: [{ip: 10.1.0.5}, {ip: "fd00::5"}]
  conditions:
  - {type: Initialized, status: "True"}
  - {type: Ready, status: "True"}
)");
  CHECK(result.readable);
  CHECK(result.problems.empty());
  const auto& pod = body_of<Pod>(result);
  const auto& object = *result.objects[0];
  CHECK(object.problems.empty());
  CHECK(key_of(object) == "/Pod/shop/web-1");
  CHECK(object.line == 2);
  CHECK(object.meta.uid == "6c1");
  CHECK(*object.meta.label("version") == "1");
  CHECK(object.meta.owners.at(0).name == "web-7d9f");
  CHECK(pod.spec.node_name == "n1");
  CHECK(pod.spec.service_account == "web");
  CHECK(pod.ips == std::vector<std::string>{"10.1.0.5", "fd00::5"});
  CHECK(pod.ready);
  REQUIRE(pod.spec.ports.size() == 3);
  CHECK(pod.spec.ports[0].name == "http");
  CHECK(pod.spec.ports[1].protocol == "UDP");
  CHECK(pod.spec.ports[2].name == "side");
}

TEST_CASE("absent fields get the defaults of the API") {
  auto result = yaml(
      "{apiVersion: v1, kind: Pod, metadata: {name: p}}\n---\n"
      "{apiVersion: v1, kind: Namespace, metadata: {name: n}}\n---\n"
      "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 80}]}}");
  CHECK(body_of<Pod>(result).spec.service_account == "default");
  CHECK(result.objects[0]->meta.namespace_ == "default");
  CHECK(result.objects[1]->meta.namespace_.empty());
  CHECK(body_of<Service>(result, 2).type == "ClusterIP");
  CHECK(body_of<Service>(result, 2).ports.at(0).target_port == 80);
  CHECK(parse("{apiVersion: v1, kind: Pod, metadata: {name: p}}", "x.yaml", {.default_namespace = "team"})
            .objects.at(0)
            ->meta.namespace_ == "team");
}

TEST_CASE("a service's target port is a number, a name, or the port itself") {
  struct Row {
    const char* target;
    int port;
    const char* name;
  };
  for (const Row& row :
       {Row{"targetPort: 8080", 8080, ""}, Row{"targetPort: \"8080\"", 8080, ""}, Row{"targetPort: http", 0, "http"},
        Row{"targetPort: 0", 80, ""}, Row{"", 80, ""}, Row{"targetPort: null", 80, ""}}) {
    INFO(row.target);
    auto result =
        yaml(std::string("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports:\n  - port: 80\n    ") +
             row.target + "\n");
    const auto& port = body_of<Service>(result).ports.at(0);
    CHECK(port.target_port == row.port);
    CHECK(port.target_name == row.name);
  }
}

TEST_CASE("headless, dual-stack and external-name services keep their addresses apart") {
  auto result = yaml(R"(
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: None, publishNotReadyAddresses: true}}
- {apiVersion: v1, kind: Service, metadata: {name: b}, spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, "fd00::1"], ipFamilyPolicy: PreferDualStack}}
- {apiVersion: v1, kind: Service, metadata: {name: c}, spec: {type: ExternalName, externalName: example.org}}
)");
  CHECK(body_of<Service>(result, 0).headless);
  CHECK(body_of<Service>(result, 0).cluster_ips.empty());
  CHECK(body_of<Service>(result, 0).publish_not_ready);
  CHECK(body_of<Service>(result, 1).cluster_ips.size() == 2);
  CHECK(body_of<Service>(result, 2).external_name == "example.org");
}

TEST_CASE("unknown fields are named by path and line with the nearest known name") {
  auto result = yaml(R"(apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata:
  name: d
  labels: {any/key: fine}
spec:
  host: h
  trafficPolicy:
    connectionPool:
      tcp:
        keepAlive: {time: 7200s}
      http:
        consecutiveGatewayErrors: 5
)");
  REQUIRE(result.objects.size() == 1);
  const auto& problems = result.objects[0]->problems;
  REQUIRE(problems.size() == 2);
  CHECK(problems[0].path == "spec.trafficPolicy.connectionPool.tcp.keepAlive");
  CHECK(problems[0].line == 11);
  CHECK(problems[0].level == Level::kWarning);
  CHECK(problems[1].path == "spec.trafficPolicy.connectionPool.http.consecutiveGatewayErrors");
  auto typo = yaml("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {slector: {a: b}}}");
  CHECK(typo.objects.at(0)->problems.at(0).message == "unknown field; ignored; did you mean selector?");
}

TEST_CASE("kinds are told apart by group, and unknown kinds are kept whole") {
  auto result = yaml(R"(
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: a}, spec: {servers: [{port: {number: 80}}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: a}, spec: {gatewayClassName: istio-waypoint}}
---
{apiVersion: example.org/v7, kind: Thing, metadata: {name: t}, anything: [1, {b: c}]}
)");
  CHECK(result.objects.at(0)->as<Untyped>());
  CHECK(body_of<Gateway>(result, 1).class_name == "istio-waypoint");
  const auto& thing = body_of<Untyped>(result, 2);
  CHECK(thing.document->find("anything")->items.at(1).find("b")->text == "c");
  CHECK(result.objects.at(2)->problems.empty());
}

TEST_CASE("documents that are no objects are skipped by line and the others are read") {
  auto result = yaml(R"({apiVersion: v1, kind: Pod, metadata: {name: p}}
---
kubectl label namespace production istio.io/dataplane-mode=ambient
---
# only a comment
---
- a list
---
{kind: Pod}
---
{apiVersion: v1, kind: Pod, metadata: {labels: {a: b}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: q}}
)");
  CHECK(result.readable);
  CHECK(result.objects.size() == 2);
  REQUIRE(result.problems.size() == 4);
  CHECK(result.problems[0].reason == "NotAnObject");
  CHECK(result.problems[0].line == 3);
  CHECK(result.problems[1].line == 7);
}

TEST_CASE("broken syntax names its line and leaves the text unreadable") {
  struct Row {
    const char* text;
    int line;
  };
  for (const Row& row : {Row{"a: b\n c: d\n", 2}, Row{"a: [1, 2\nb: c\n", 2}, Row{"\ta: b\n", 1}, Row{"a: *missing\n", 1},
                         Row{"a: 1\na: 2\n", 2}, Row{"a: &x [*x]\n", 1}, Row{"? {a: b}\n: c\n", 1}, Row{"a: \"\\q\"\n", 1},
                         Row{"%YAML 9.0\n---\na: b\n", 1}}) {
    INFO(row.text);
    auto result = yaml(row.text);
    CHECK_FALSE(result.readable);
    REQUIRE(result.problems.size() == 1);
    CHECK(result.problems[0].reason == "Unreadable");
    CHECK(result.problems[0].level == Level::kError);
    CHECK(result.problems[0].line >= row.line);
  }
  auto zero = parse(std::string_view("a: b\nc: \0d\n", 11), "z.yaml");
  CHECK_FALSE(zero.readable);
  CHECK(zero.problems.at(0).line == 2);
}

TEST_CASE("objects before an error are handed out beside it") {
  auto result = yaml("{apiVersion: v1, kind: Pod, metadata: {name: p}}\n---\n{{{\n");
  CHECK_FALSE(result.readable);
  CHECK(result.objects.size() == 1);
}

TEST_CASE("aliases and merge keys expand, within bounds") {
  auto result = yaml(R"(
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: &base {a: "1", b: "2"}
---
apiVersion: v1
kind: Pod
metadata:
  name: p
  labels: &l {app: x, tier: y}
  annotations:
    <<: *l
    tier: z
)");
  CHECK(result.readable);
  CHECK(*result.objects.at(1)->meta.annotation("app") == "x");
  CHECK(*result.objects.at(1)->meta.annotation("tier") == "z");

  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    auto before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) bomb += (j ? ", " : "") + before;
    bomb += "]\n";
  }
  Limits limits;
  limits.values = 100'000;
  auto documents = read_yaml(bomb, limits);
  REQUIRE(documents.error);
  CHECK(documents.error->message.find("aliases") != std::string::npos);
}

TEST_CASE("nesting, size, values and documents have bounds") {
  Limits limits;
  limits.depth = 20;
  limits.bytes = 10'000;
  limits.documents = 3;
  limits.values = 50;
  CHECK(read_yaml(std::string(5000, '['), limits).error);
  CHECK(read_json(std::string(5000, '['), limits).error);
  CHECK(read_yaml(std::string(5000, '{'), limits).error);
  CHECK(read_yaml(std::string(20'000, 'a'), limits).error);
  CHECK(read_json(std::string(20'000, ' '), limits).error);
  CHECK(read_yaml("a: 1\n---\na: 1\n---\na: 1\n---\na: 1\n", limits).error);
  std::string many = "[";
  for (int i = 0; i < 60; ++i) many += "1,";
  CHECK(read_json(many + "1]", limits).error);
  std::string deep;
  for (int i = 0; i < 30; ++i) deep += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  CHECK(read_yaml(deep, limits).error);
}

TEST_CASE("JSON is read with lines, escapes and its own errors") {
  auto result = parse(
      "{\n \"apiVersion\": \"v1\",\n \"kind\": \"PodList\",\n \"items\": [\n"
      "  {\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"p\", \"labels\": {\"a\": "
      "\"\\ud83d\\ude00\"}},\n"
      "   \"spec\": {\"hostNetwork\": true, \"nodNme\": \"x\"}}\n ]\n}\n",
      "pods.json");
  CHECK(result.readable);
  CHECK(body_of<Pod>(result).spec.host_network);
  CHECK(*result.objects[0]->meta.label("a") == "\xF0\x9F\x98\x80");
  CHECK(result.objects[0]->problems.at(0).line == 6);
  for (auto text : {"{", "{\"a\": 1, \"a\": 2}", "[1,]", "{} {}", "{\"a\": 'b'}", "nul"}) {
    INFO(text);
    CHECK_FALSE(parse(text, "x.json").readable);
  }
  CHECK(parse("", "x.json").readable);
}

TEST_CASE("values of the wrong shape are named and do not stop the reader") {
  auto result = yaml(R"(
apiVersion: v1
kind: Service
metadata: {name: s, labels: [a]}
spec:
  selector: text
  ports: {port: 80}
  clusterIPs: 10.0.0.1
  publishNotReadyAddresses: maybe
---
{apiVersion: v1, kind: Service, metadata: {name: t}, spec: {ports: [{port: 70000}, {port: -1}, {port: http}, {port: 80}]}}
)");
  REQUIRE(result.objects.size() == 2);
  for (auto path : {"metadata.labels", "spec.selector", "spec.ports", "spec.clusterIPs", "spec.publishNotReadyAddresses"})
    CHECK(has_problem(*result.objects[0], "InvalidValue", path));
  CHECK(body_of<Service>(result, 1).ports.size() == 1);
}

TEST_CASE("a hostile object cannot fill memory with remarks") {
  std::string text = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n";
  for (int i = 0; i < 5000; ++i) text += "  x" + std::to_string(i) + ": 1\n";
  CHECK(yaml(text).objects.at(0)->problems.size() == Problems::kKept);
}

// Two million unknown fields: to look for the nearest known name of each takes minutes.
TEST_CASE("unknown fields that aliases repeat cost no more than those that are told") {
  std::string text = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n- &a {";
  for (int i = 1000; i < 2000; ++i) text += std::string(36, 'q') + std::to_string(i) + ": 1, ";
  text += "}\n";
  for (int i = 0; i < 1000; ++i) text += "- *a\n";
  const auto result = yaml(text);
  REQUIRE(result.readable);
  CHECK(result.objects.at(0)->problems.size() == Problems::kKept);
}

TEST_CASE("label selectors match as the API says") {
  LabelSelector selector{{{"app", "web"}}, {{"tier", "In", {"a", "b"}}, {"old", "DoesNotExist", {}}}};
  CHECK(selector.matches({{"app", "web"}, {"tier", "b"}}));
  CHECK_FALSE(selector.matches({{"app", "web"}, {"tier", "c"}}));
  CHECK_FALSE(selector.matches({{"app", "web"}, {"tier", "a"}, {"old", ""}}));
  CHECK(LabelSelector{}.matches({}));
  CHECK(LabelSelector{{}, {{"a", "NotIn", {"x"}}}}.matches({}));
  CHECK_FALSE(LabelSelector{{}, {{"a", "Like", {"x"}}}}.matches({{"a", "x"}}));
}

TEST_CASE("random damage to a file never does worse than an error") {
  const std::string good = R"(apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: n}
spec:
  selector: {matchLabels: {app: &a web}}
  rules:
  - from:
    - source: {principals: ["x", *a]}
---
{apiVersion: v1, kind: Service, metadata: {name: t}, spec: {ports: [{port: 80, targetPort: "http"}]}}
)";
  std::uint32_t state = 7;
  auto next = [&state] { return state = state * 1664525u + 1013904223u, state >> 8; };
  for (int round = 0; round < 3000; ++round) {
    auto text = good;
    for (unsigned edits = 1 + next() % 4; edits > 0; --edits) {
      const auto at = next() % text.size();
      switch (next() % 3) {
        case 0: text[at] = static_cast<char>(next() % 256); break;
        case 1: text.erase(at, next() % 20); break;
        default: text.insert(at, text.substr(next() % text.size(), next() % 30));
      }
      if (text.empty()) text = "x";
    }
    (void)parse(text, "damaged.yaml");
    (void)parse(text, "damaged.json");
  }
}

TEST_CASE("no example manifest is refused") {
  const char* shared = std::getenv("WEFT_SHARED");
  const auto folder = std::filesystem::path(shared ? shared : "../shared") / "seed-manifests";
  if (!std::filesystem::is_directory(folder)) SKIP("the example manifests are not here");
  int objects = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (entry.path().extension() != ".yaml" || name == "expectations.yaml" || name == "oddities.yaml" ||
        name == "requests.yaml")
      continue;
    INFO(entry.path().string());
    std::stringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    auto result = parse(text.str(), name);
    CHECK(result.readable);
    CHECK(result.problems.size() == (name.starts_with("10-3") ? 1u : 0u));
    for (const auto& object : result.objects) {
      CHECK(find_kind(object->group, object->kind).known);
      for (const auto& problem : object->problems) {
        INFO(problem.path << ": " << problem.message);
        CHECK((name.starts_with("03-3") || name.starts_with("07-1")));
      }
      ++objects;
    }
  }
  CHECK(objects > 60);
}

TEST_CASE("text that no YAML document can begin with ends the reading, it does not begin for ever") {
  for (const std::string text : {",- a: b\n", "- x\n,- y: z\n", "a: b\n}\n", "]\n", ", , ,\n", "---\n,\n"}) {
    INFO(text);
    const auto documents = read_yaml(text, Limits{});
    REQUIRE(documents.error);
    CHECK(documents.error->reason == "Unreadable");
  }
  const auto empty = read_yaml("---\n---\n---\na: b\n---\n", Limits{});
  CHECK(!empty.error);
  CHECK(empty.values.size() == 1);
}
