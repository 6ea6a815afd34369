#include "cni-plugin/agent/folder_source.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "lib/manifest/parse.h"
#include "tests/support/sim/files.h"

using namespace weft;
using namespace weft::cni::agent;

namespace {

struct Case {
  const char* namespace_labels;  // YAML flow maps
  const char* pod_labels;
  const char* annotations;
  const char* spec;
  bool wanted;
};

std::string yaml_of(const Case& c) {
  return std::string("{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: ") + c.namespace_labels +
         "}}\n---\n{apiVersion: v1, kind: Pod, metadata: {name: front, namespace: shop, uid: u1, labels: " + c.pod_labels +
         ", annotations: " + c.annotations + "}, spec: {nodeName: n1, serviceAccountName: front, " + c.spec +
         " containers: []}, status: {phase: Running, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}}\n";
}

std::vector<PodInfo> pods(const std::string& yaml, Membership membership = {"n1"}) {
  const auto parsed = manifest::parse(yaml, "test.yaml");
  REQUIRE(parsed.readable);
  return pods_of_node(parsed.objects, translate::known_namespaces(parsed.objects, {}), membership);
}

const char* const kAmbient = "{istio.io/dataplane-mode: ambient}";
const char* const kNone = "{istio.io/dataplane-mode: none}";
const Case kWanted{kAmbient, "{}", "{}", "", true};

}  // namespace

TEST_CASE("labels, host network and sidecars decide who is in the mesh") {
  const std::vector<Case> cases{{kAmbient, "{}", "{}", "", true},
                                {kAmbient, "{istio.io/dataplane-mode: other}", "{}", "", true},
                                {kAmbient, kNone, "{}", "", false},
                                {"{}", kAmbient, "{}", "", true},
                                {"{}", "{}", "{}", "", false},
                                {kAmbient, kAmbient, "{}", "hostNetwork: true,", false},
                                {kAmbient, kAmbient, "{sidecar.istio.io/status: '{}'}", "", false}};
  for (const auto& c : cases) {
    INFO(yaml_of(c));
    const auto found = pods(yaml_of(c));
    REQUIRE(found.size() == 1);
    CHECK(found[0].wanted == c.wanted);
    CHECK_FALSE(found[0].reason.empty());
  }
}

TEST_CASE("what the agent knows of a pod comes from the object") {
  const auto found = pods(yaml_of(kWanted));
  REQUIRE(found.size() == 1);
  CHECK(found[0].uid == "u1");
  CHECK(found[0].full_name() == "shop/front");
  CHECK(found[0].service_account == "front");
  CHECK(found[0].ips.size() == 2);
  CHECK(found[0].running);
  CHECK_FALSE(found[0].finished);
}

TEST_CASE("pods of other nodes, and of none, are not ours") {
  CHECK(pods(yaml_of(kWanted), {"n2"}).empty());
  CHECK(pods(yaml_of(kWanted), {""}).empty());
  CHECK(pods("{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}, spec: {containers: []}}", {""}).empty());
}

TEST_CASE("excluded namespaces, node proxies and node agents stay outside") {
  Membership excluded{"n1"};
  excluded.excluded_namespaces = {"shop"};
  CHECK_FALSE(pods(yaml_of(kWanted), excluded).at(0).wanted);
  Membership proxies{"n1"};
  proxies.system_namespace = "shop";
  CHECK(pods(yaml_of(kWanted), proxies).at(0).wanted);
  const Case ztunnel{kAmbient, "{app: ztunnel}", "{}", "", false};
  CHECK_FALSE(pods(yaml_of(ztunnel), proxies).at(0).wanted);
  CHECK(pods(yaml_of(ztunnel)).at(0).wanted);
  Membership agents{"n1"};
  agents.agent_namespace = "shop";
  auto text = yaml_of(kWanted);
  text.replace(text.find("name: front,"), 11, "name: istio-cni-node-x1");
  CHECK_FALSE(pods(text, agents).at(0).wanted);
}

TEST_CASE("a pod without a UID has its name for one, and a UID counts once") {
  const char* text =
      "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}, spec: {nodeName: n1}}\n---\n"
      "{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: shop, uid: same}, spec: {nodeName: n1}}\n---\n"
      "{apiVersion: v1, kind: Pod, metadata: {name: c, namespace: shop, uid: same}, spec: {nodeName: n1}}\n";
  const auto found = pods(text);
  REQUIRE(found.size() == 2);
  CHECK(found[0].uid == "shop/a");
  CHECK(found[1].name == "b");
}

TEST_CASE("while a file could never be read, pods that seem to be outside the mesh may be inside") {
  const std::string both = yaml_of(kWanted);
  const auto cut = both.find("---\n") + 4;
  ManualLoop loop;
  auto tree = std::make_shared<sim::FileTree>();
  sim::MemoryFiles files{loop, tree};
  tree->put("/state/namespace.yaml", "kind: [broken");
  tree->put("/state/pod.yaml", both.substr(cut));
  PodSet last;
  FolderPods source(files, "/state", {"n1"}, [&last](const PodSet& set) { last = set; });
  REQUIRE(source.start());
  CHECK_FALSE(last.complete);
  CHECK(last.pods.empty());
  CHECK(last.left_out == std::set<std::string>{"u1"});  // and its processes can be told from others'
  tree->put("/state/namespace.yaml", both.substr(0, cut));
  loop.advance(std::chrono::seconds(1));
  CHECK(last.complete);
  CHECK(last.left_out.empty());
  REQUIRE(last.pods.size() == 1);
  CHECK(last.pods[0].wanted);
  // From now on what breaks keeps what it said, and a pod without the label is outside.
  tree->put("/state/namespace.yaml", "kind: [broken");
  loop.advance(std::chrono::seconds(1));
  CHECK(last.pods.at(0).wanted);
  tree->put("/state/namespace.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n");
  loop.advance(std::chrono::seconds(1));
  REQUIRE(last.pods.size() == 1);
  CHECK_FALSE(last.pods[0].wanted);
}

TEST_CASE("a namespace that is not described any more says what it said last, as long as anything stands in it") {
  const std::string both = yaml_of(kWanted);
  const auto cut = both.find("---\n") + 4;
  ManualLoop loop;
  auto tree = std::make_shared<sim::FileTree>();
  sim::MemoryFiles files{loop, tree};
  PodSet last;
  const auto put = [&](const std::string& path, const std::string& text) {
    tree->put(path, text);
    loop.advance(std::chrono::seconds(1));
  };
  put("/state/pod.yaml", both.substr(cut));
  FolderPods source(files, "/state", {"n1"}, [&last](const PodSet& set) { last = set; });
  REQUIRE(source.start());
  // Never described: not in the mesh, but neither is it said that it is not.
  CHECK_FALSE(last.pods.at(0).wanted);
  CHECK(last.pods.at(0).undecided);
  put("/state/namespace.yaml", both.substr(0, cut));
  CHECK(last.pods.at(0).wanted);
  SECTION("the file does not say it any more") { put("/state/namespace.yaml", "# nothing\n"); }
  SECTION("the file is removed") {
    tree->erase("/state/namespace.yaml");
    loop.advance(std::chrono::seconds(1));
  }
  SECTION("the control: it is described without the label") {
    put("/state/namespace.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n");
    CHECK_FALSE(last.pods.at(0).wanted);
    CHECK_FALSE(last.pods.at(0).undecided);
    return;
  }
  CHECK(last.pods.at(0).wanted);
  tree->erase("/state/pod.yaml");
  loop.advance(std::chrono::seconds(1));
  put("/state/pod.yaml", both.substr(cut));
  CHECK_FALSE(last.pods.at(0).wanted);
}

TEST_CASE("a pod whose namespace nobody describes is undecided only where the namespace would decide") {
  const auto of = [](const Case& c, Membership membership = {"n1"}) {
    const auto text = yaml_of(c);
    return pods(text.substr(text.find("---\n") + 4), membership).at(0);
  };
  CHECK(of(kWanted).undecided);
  CHECK(of({"{}", kAmbient, "{}", "", true}).wanted);
  CHECK_FALSE(of({"{}", kNone, "{}", "", false}).undecided);
  CHECK_FALSE(of({"{}", "{}", "{}", "hostNetwork: true,", false}).undecided);
  CHECK_FALSE(of({"{}", "{}", "{sidecar.istio.io/status: '{}'}", "", false}).undecided);
  Membership excluded{"n1"};
  excluded.excluded_namespaces = {"shop"};
  CHECK_FALSE(of(kWanted, excluded).undecided);
}
