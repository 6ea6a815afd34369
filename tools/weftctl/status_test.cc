#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "tools/weftctl/status_text.h"

using namespace weft;
using namespace weft::ctl;
using Json = nlohmann::ordered_json;

namespace {

Json proxy_page() {
  return Json::parse(R"json({
    "node": "node-a", "version": "0.1.0", "gitRevision": "abc", "ready": true, "waitingFor": [],
    "workers": {"count": 2, "engine": "epoll (io_uring: Operation not permitted)"},
    "mesh": {"source": "manifests", "revision": 7, "policyRevision": 3, "workloads": 3, "services": 1, "policies": 0},
    "manifests": {"folder": "/state", "files": 4, "unreadable": 0, "rulesWithoutEffect": 0, "problemCount": 0, "problems": []},
    "certificates": [{"identity": "spiffe://cluster.local/ns/shop/sa/web", "state": "Available", "lifeSeconds": 86400,
                      "remainingSeconds": 50000}],
    "pods": [{"uid": "u1", "pod": "shop/web", "serviceAccount": "web", "state": "Up", "connections": 1}]})json");
}

Json agent_page() {
  return Json::parse(R"({
    "node": "node-a", "ztunnelConnected": true, "unenforcedPods": 0, "manifests": {"folder": "/state", "files": 4, "unreadable": 0},
    "pods": [{"uid": "u1", "pod": "shop/web", "state": "enrolled", "why": "namespace label", "running": true,
              "unenforced": false, "next": "none", "error": ""},
             {"uid": "u2", "pod": "outside/plain", "state": "outside", "why": "no label", "running": true}]})");
}

NodeStatus node_of(std::optional<Json> proxy, std::optional<Json> agent) {
  NodePages pages{{"127.0.0.1", 15000}, {"127.0.0.1", 15015}, std::move(proxy), std::move(agent), {}};
  if (!pages.proxy_page) pages.unanswered.push_back("ztunnel: refused");
  if (!pages.agent_page) pages.unanswered.push_back("weft-agent: refused");
  return judge_status(std::move(pages));
}

// What is said when one place of the pages is changed.
NodeStatus with(const char* page, const char* pointer, const Json& value) {
  Json proxy = proxy_page(), agent = agent_page();
  (std::string(page) == "proxy" ? proxy : agent)[Json::json_pointer(pointer)] = value;
  return node_of(proxy, agent);
}

bool only_problem(const NodeStatus& node, const std::string& word) {
  INFO(status_json({node}));
  return node.problems.size() == 1 && node.problems[0].find(word) != std::string::npos && exit_status_of({node}) == 1;
}

}  // namespace

TEST_CASE("a node that is well has no problem, and its pods and certificates are told") {
  const auto node = node_of(proxy_page(), agent_page());
  CHECK(node.problems.empty());
  CHECK(exit_status_of({node}) == 0);
  CHECK(status_text({node}, Colour::kNo) ==
        "node-a (127.0.0.1:15000): well\n"
        "  version       0.1.0 (abc)\n"
        "  workers       2 on epoll (io_uring: Operation not permitted)\n"
        "  mesh          revision 7 from manifests: 3 workloads, 1 service, 0 policies\n"
        "  manifests     /state, 4 files, 0 unreadable\n"
        "  certificates\n"
        "    IDENTITY                               REMAINING  STATE\n"
        "    spiffe://cluster.local/ns/shop/sa/web  13h 53m    Available\n"
        "  pods\n"
        "    POD            STATE     WHY\n"
        "    outside/plain  outside   no label\n"
        "    shop/web       enrolled\n");
}

TEST_CASE("colour only where it was asked for") {
  const auto node = node_of(proxy_page(), agent_page());
  CHECK(status_text({node}, Colour::kNo).find('\033') == std::string::npos);
  CHECK(status_text({node}, Colour::kYes).find("\033[32menrolled\033[0m") != std::string::npos);
}

TEST_CASE("what is wrong is named, and decides the exit status") {
  CHECK(only_problem(with("proxy", "/ready", false), "not ready"));
  CHECK(only_problem(with("proxy", "/manifests/rulesWithoutEffect", 2), "2 DENY rules can never fire"));
  CHECK(only_problem(with("proxy", "/manifests/problems",
                          Json::parse(R"([{"file": "a.yaml", "line": 7, "reason": "Unreadable", "message": "no YAML",
                                           "lastGoodInForce": true}])")),
                     "a.yaml:7: Unreadable: no YAML; its last good state is in force"));
  CHECK(only_problem(with("proxy", "/manifests/problemCount", 3), "and 3 more"));
  CHECK(only_problem(with("proxy", "/certificates/0/remainingSeconds", -60), "has expired"));
  CHECK(only_problem(with("proxy", "/certificates/0/remainingSeconds", 8639), "is not being renewed"));
  CHECK(with("proxy", "/certificates/0/remainingSeconds", 8640).problems.empty());
  CHECK(only_problem(with("proxy", "/certificates/0", Json{{"identity", "x"}, {"state", "Unavailable: no authority"}}),
                     "no certificate for x: Unavailable: no authority"));
  CHECK(with("proxy", "/certificates/0", Json{{"identity", "x"}, {"state", "Initializing"}}).problems.empty());
  CHECK(only_problem(with("proxy", "/pods", Json::array()), "shop/web is not served"));
  CHECK(only_problem(with("proxy", "/pods/0/state", "Pending"), "shop/web is not served"));
  CHECK(only_problem(with("agent", "/ztunnelConnected", false), "no ztunnel is connected"));
  CHECK(only_problem(with("agent", "/manifests/unreadable", 1), "the agent cannot read 1"));
  CHECK(only_problem(with("agent", "/pods/0",
                          Json{{"uid", "u1"},
                               {"pod", "shop/web"},
                               {"state", "pending"},
                               {"unenforced", true},
                               {"next", "redirect"},
                               {"error", "nft failed"}}),
                     "shop/web runs and no policy is enforced on it: next: redirect; nft failed"));
  CHECK(only_problem(with("agent", "/pods/0/markUsers", "curl (pid 77), 1 connection, one to 10.0.0.9:80"),
                     "shop/web sends past the mesh with the proxy's packet mark: curl (pid 77), 1 connection"));
  CHECK(with("agent", "/pods/0/markUsers", "").problems.empty());
}

TEST_CASE("a node that cannot be asked is told as far as it is known, with exit status 2") {
  auto node = node_of(proxy_page(), std::nullopt);
  CHECK(exit_status_of({node_of(proxy_page(), agent_page()), node}) == 2);
  auto text = status_text({node}, Colour::kNo);
  CHECK(text.starts_with("node-a (127.0.0.1:15000): not fully known\n"));
  CHECK(text.find("shop/web  served") != std::string::npos);
  CHECK(text.find("! weft-agent: refused") != std::string::npos);
  node = node_of(std::nullopt, agent_page());
  CHECK(exit_status_of({node}) == 2);
  text = status_text({node}, Colour::kNo);
  CHECK(text.find("shop/web       enrolled") != std::string::npos);
  CHECK(status_text({node_of(std::nullopt, std::nullopt)}, Colour::kNo)
            .starts_with("node (127.0.0.1:15000): not fully known\n"));
}

TEST_CASE("an unenforced pod stands out") {
  const auto node = with("agent", "/pods/0/unenforced", true);
  CHECK(status_text({node}, Colour::kYes).find("\033[31mUNENFORCED\033[0m") != std::string::npos);
}

TEST_CASE("for programs there is one object with both pages, the pods put together and what is wrong") {
  const auto told = Json::parse(status_json({with("agent", "/ztunnelConnected", false)}));
  const auto& node = told["nodes"][0];
  CHECK(node["admin"] == "127.0.0.1:15000");
  CHECK(node["agentAdmin"] == "127.0.0.1:15015");
  CHECK(node["errors"] == Json::array());
  CHECK(node["problems"].size() == 1);
  CHECK(node["pods"][1] ==
        Json{{"pod", "shop/web"}, {"uid", "u1"}, {"state", "enrolled"}, {"unenforced", false}, {"why", ""}});
  CHECK(node["ztunnel"] == proxy_page());
  CHECK(node["agent"]["node"] == "node-a");
  CHECK(Json::parse(status_json({node_of(std::nullopt, std::nullopt)}))["nodes"][0]["ztunnel"].is_null());
}

TEST_CASE("pages of another shape than expected harm nobody, and no control character reaches the terminal") {
  for (const auto* text :
       {"{}", R"({"pods": 7, "certificates": "x", "manifests": [1], "ready": "yes", "workers": 1})",
        R"({"pods": [1, "a", {}], "certificates": [null], "manifests": {"problems": "x", "files": "y"}})"}) {
    const auto node = node_of(Json::parse(text), Json::parse(text));
    CHECK(!status_text({node}, Colour::kNo).empty());
    CHECK(Json::parse(status_json({node}))["nodes"].size() == 1);
  }
  const auto node = with("agent", "/pods/1/why", "\033[2J\n\a");
  CHECK(status_text({node}, Colour::kNo).find("outside   ?[2J??\n") != std::string::npos);
}
