#include "lib/explain/explain.h"

#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "lib/manifest/parse.h"
#include "tools/weftctl/inventory.h"
#include "tools/weftctl/lines.h"

using namespace weft;
using namespace weft::ctl;
using nlohmann::json;

namespace {

constexpr const char* kMesh = R"(
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: outside}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: a, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {serviceAccountName: db, nodeName: a}
status: {phase: Running, podIP: 10.0.0.5, podIPs: [{ip: 10.0.0.5}], conditions: [{type: Ready, status: 'True'}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: plain, namespace: outside}, spec: {nodeName: a}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict-db, namespace: shop}
spec: {selector: {matchLabels: {app: db}}, mtls: {mode: STRICT}, portLevelMtls: {9000: {mode: PERMISSIVE}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  rules:
  - to: [{operation: {methods: [GET]}}]
  - from: [{source: {principals: [cluster.local/ns/shop/sa/db]}}]
    to: [{operation: {ports: ['8080']}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-stranger, namespace: shop}
spec: {action: DENY, rules: [{from: [{source: {namespaces: [other]}}]}, {from: [{source: {ipBlocks: [192.0.2.0/24]}}]}]}
)";

json ask(const std::string& line, const std::string& more = "") {
  const auto parsed = manifest::parse(kMesh + more, "mesh.yaml");
  REQUIRE(parsed.readable);
  return json::parse(explain::explain_line(take_inventory(parsed.objects, {}), line));
}

std::string from_to(const std::string& principal, const std::string& destination) {
  return "{\"id\": \"x\", \"source\": {\"principal\": " + (principal.empty() ? "null" : "\"" + principal + "\"") +
         "}, \"destination\": " + destination + "}";
}

constexpr const char* kWeb = R"({"service": "shop/web", "port": 80})";

}  // namespace

TEST_CASE("an ALLOW policy that matches is named with its rule as it is written") {
  const auto answer = ask(from_to("cluster.local/ns/shop/sa/db", kWeb));
  CHECK(answer["id"] == "x");
  CHECK(answer["decision"] == "allow");
  CHECK(answer["layer"] == "l4");
  CHECK(answer["kind"] == "AuthorizationPolicy");
  CHECK(answer["policy"] == "shop/web");
  CHECK(answer["rule"] == 1);  // the rule with a method is left out at L4, and still counts
  CHECK(answer["candidates"] == json::array());
}

TEST_CASE("without a matching ALLOW policy the candidates are named") {
  const auto answer = ask(from_to("cluster.local/ns/shop/sa/web", kWeb));
  CHECK(answer["decision"] == "deny");
  CHECK(answer["policy"] == nullptr);
  CHECK(answer["rule"] == nullptr);
  CHECK(answer["candidates"] == json::array({"shop/web"}));
  CHECK(answer["reason"].get<std::string>().starts_with("allow policies exist, but none allowed"));
}

TEST_CASE("a DENY policy that matches is named with its rule") {
  auto answer = ask(from_to("cluster.local/ns/other/sa/a", kWeb));
  CHECK(answer["decision"] == "deny");
  CHECK(answer["policy"] == "shop/no-stranger");
  CHECK(answer["rule"] == 0);
  answer = ask(R"({"source": {"ip": "192.0.2.7"}, "destination": {"pod": "shop/db", "port": 9000}})");
  CHECK(answer["id"] == nullptr);
  CHECK(answer["policy"] == "shop/no-stranger");
  CHECK(answer["rule"] == 1);
}

TEST_CASE("plain text that a mode refuses names the PeerAuthentication, and an open port takes it") {
  const auto answer = ask(from_to("", R"({"pod": "shop/db", "port": 5432})"));
  CHECK(answer["decision"] == "deny");
  CHECK(answer["kind"] == "PeerAuthentication");
  CHECK(answer["policy"] == "shop/strict-db");
  CHECK(answer["rule"] == nullptr);
  CHECK(ask(from_to("", R"({"pod": "shop/db", "port": 9000})"))["decision"] == "allow");
  CHECK(ask(from_to("cluster.local/ns/shop/sa/web", R"({"pod": "shop/db", "port": 5432})"))["layer"] == "none");
}

TEST_CASE("an inherited mode names the object it comes from") {
  const auto more =
      "---\n{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: mesh, namespace: istio-system}, "
      "spec: {mtls: {mode: STRICT}}}\n";
  CHECK(ask(from_to("", kWeb), more)["policy"] == "istio-system/mesh");
}

TEST_CASE("a pod without a principal speaks plain text, whatever it is") {
  const auto answer = ask(R"({"source": {"pod": "shop/db"}, "destination": {"service": "shop/web"}})");
  CHECK(answer["decision"] == "deny");
  CHECK(answer["reason"].get<std::string>().find("plain") != std::string::npos);
}

TEST_CASE("a pod outside the mesh and an address of nobody are let in by nobody's decision") {
  for (const auto* destination : {R"({"pod": "outside/plain", "port": 80})", R"({"ip": "203.0.113.1", "port": 443})"}) {
    const auto answer = ask(from_to("cluster.local/ns/shop/sa/db", destination));
    CHECK(answer["decision"] == "allow");
    CHECK(answer["layer"] == "none");
    CHECK(answer["kind"] == nullptr);
  }
}

TEST_CASE("a namespace that no file describes is taken to be in the mesh, and that is said") {
  const auto more =
      "---\n{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: new}}\n---\n{apiVersion: security.istio.io/v1, "
      "kind: AuthorizationPolicy, metadata: {name: none, namespace: new}}\n";
  const auto answer = ask(from_to("cluster.local/ns/shop/sa/db", R"({"pod": "new/p", "port": 80})"), more);
  CHECK(answer["decision"] == "deny");
  CHECK(answer["candidates"] == json::array({"new/none"}));
  CHECK(answer["reason"].get<std::string>().find("namespace new is not described") != std::string::npos);
}

TEST_CASE("a pod can be named by its address") {
  CHECK(ask(from_to("", R"({"ip": "10.0.0.5", "port": 5432})"))["policy"] == "shop/strict-db");
}

TEST_CASE("a service whose pods differ is refused by the one that refuses") {
  const auto more =
      "---\napiVersion: v1\nkind: Pod\nmetadata: {name: web-2, namespace: shop, labels: {app: web, track: canary}}\n"
      "spec: {serviceAccountName: web, containers: [{name: a, ports: [{name: http, containerPort: 8080}]}]}\n"
      "---\napiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: shop, labels: {app: web}}\n"
      "spec: {serviceAccountName: web, containers: [{name: a, ports: [{name: http, containerPort: 8080}]}]}\n"
      "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: closed, namespace: shop}\n"
      "spec: {selector: {matchLabels: {track: canary}}, action: DENY, rules: [{}]}\n";
  for (const auto* principal : {"cluster.local/ns/shop/sa/db", ""}) {
    const auto answer = ask(from_to(principal, kWeb), more);
    CHECK(answer["decision"] == "deny");
  }
  const auto answer = ask(from_to("cluster.local/ns/shop/sa/db", kWeb), more);
  CHECK(answer["policy"] == "shop/closed");
  CHECK(answer["reason"].get<std::string>().find("1 of 2 pods") != std::string::npos);
}

TEST_CASE("a service without pods refuses") {
  const auto more =
      "---\n{apiVersion: v1, kind: Service, metadata: {name: void, namespace: shop}, spec: {selector: {app: x}, "
      "ports: [{port: 80}]}}\n";
  for (const auto* principal : {"cluster.local/ns/shop/sa/db", ""}) {
    const auto answer = ask(from_to(principal, R"({"service": "shop/void"})"), more);
    CHECK(answer["decision"] == "deny");
    CHECK(answer["reason"].get<std::string>().starts_with("no healthy upstream"));
  }
}

TEST_CASE("a tunnel never leads to a port of the proxy itself") {
  const auto answer = ask(from_to("cluster.local/ns/shop/sa/web", R"({"pod": "shop/db", "port": 15008})"));
  CHECK(answer["decision"] == "deny");
  CHECK(answer["reason"] == "attempted recursive call to ourselves");
}

TEST_CASE("a line that cannot be answered says why and keeps its id") {
  struct Row {
    const char *line, *error;
  };
  for (const auto& row : {
           Row{"{", "not valid JSON"},
           Row{"[1]", "not a JSON object"},
           Row{R"({"id": 7})", "a destination is missing"},
           Row{R"({"id": 7, "destination": 5})", "destination is no object"},
           Row{R"({"id": 7, "destination": {"pod": "shop/none"}})", "unknown pod: shop/none"},
           Row{R"({"id": 7, "source": {"pod": "a/b"}, "destination": {"pod": "shop/db"}})", "unknown pod: a/b"},
           Row{R"({"id": 7, "destination": {"service": "shop/none"}})", "unknown service: shop/none"},
           Row{R"({"id": 7, "destination": {"pod": "db"}})", "not written namespace/name"},
           Row{R"({"id": 7, "destination": {"pod": "shop/db", "port": 70000}})", "no number from 1 to 65535"},
           Row{R"({"id": 7, "destination": {"pod": "shop/db", "port": "80"}})", "no number from 1 to 65535"},
           Row{R"({"id": 7, "destination": {"ip": "10.0.0"}})", "destination.ip is no address"},
           Row{R"({"id": 7, "source": {"principal": "me"}, "destination": {"pod": "shop/db"}})", "source.principal"},
           Row{R"({"id": 7, "destination": {"pod": "shop/db", "service": "shop/web"}})", "exclude each other"},
       }) {
    INFO(row.line);
    const auto answer = ask(row.line);
    CHECK(answer.size() == 2);
    CHECK(answer["error"].get<std::string>().find(row.error) != std::string::npos);
    if (std::string(row.line).find("\"id\"") != std::string::npos) CHECK(answer["id"] == 7);
  }
}

TEST_CASE("a question longer than the bound is answered with an error") {
  const std::string question = R"({"id": 1, "destination": {"pod": "shop/db"}})";
  const auto padded = [&](std::size_t size) { return question + std::string(size - question.size(), ' '); };
  CHECK(ask(padded(explain::kQuestionMax))["decision"] == "deny");
  CHECK(ask(padded(explain::kQuestionMax + 1))["error"] == "longer than 32768 bytes");
}

TEST_CASE("lines are handed out whole, the last one too, and too long ones are cut") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const std::string text = "one\n\ntwo\n" + std::string(Lines::kLineMax + 100, 'x') + "\nlast";
  REQUIRE(::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  ::close(ends[1]);
  Lines lines(ends[0]);
  CHECK(!lines.ready());
  CHECK(lines.next() == "one");
  CHECK(lines.ready());
  CHECK(lines.next() == "");
  CHECK(lines.next() == "two");
  CHECK(lines.next() == std::string(explain::kQuestionMax + 1, 'x'));
  CHECK(lines.next() == "last");
  CHECK(!lines.ready());
  CHECK(!lines.next());
  ::close(ends[0]);
}
