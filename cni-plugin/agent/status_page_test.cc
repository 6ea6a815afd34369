#include "cni-plugin/agent/status_page.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "lib/async/manual_loop.h"

using namespace weft;
using namespace weft::cni::agent;
using nlohmann::json;

namespace {

PodInfo info(const std::string& uid, const std::string& reason, bool wanted = true) {
  PodInfo pod{uid, "web-" + uid, "shop", "web"};
  pod.running = true;
  pod.wanted = wanted;
  pod.reason = reason;
  return pod;
}

struct Node {
  ManualLoop loop;
  PodSet set;
  std::map<std::string, PodRecordPtr> records;
  zds::LinkId newest = 1;

  PodRecord& record(const PodInfo& pod) {
    set.pods.push_back(pod);
    return *(records[pod.uid] = std::make_shared<PodRecord>(loop, pod));
  }
  json page() const {
    return json::parse(status_page({"node-a", "/state", set, records, newest, {.files = 3, .unreadable = 1}}));
  }
  json row(const std::string& uid) const {
    const auto told = page();
    for (const auto& pod : told["pods"])
      if (pod["uid"] == uid) return pod;
    return {};
  }
};

}  // namespace

TEST_CASE("a pod that a proxy serves is enrolled, one without rules is unenforced and says what failed") {
  Node node;
  auto& good = node.record(info("a", "namespace label"));
  good.rules = Rules::kPresent;
  good.acked_by = 1;
  auto& bad = node.record(info("b", "pod label"));
  bad.error = "no network namespace has the addresses of the pod";
  CHECK(node.page()["unenforcedPods"] == 1);
  CHECK(node.page()["ztunnelConnected"] == true);
  CHECK(node.row("a")["pod"] == "shop/web-a");
  CHECK(node.row("a")["state"] == "enrolled");
  CHECK(node.row("a")["unenforced"] == false);
  CHECK(node.row("a")["rules"] == "present");
  CHECK(node.row("b")["state"] == "pending");
  CHECK(node.row("b")["unenforced"] == true);
  CHECK(node.row("b")["error"] == "no network namespace has the addresses of the pod");
  CHECK(node.row("b")["why"] == "pod label");
}

TEST_CASE("a pod with processes that use the proxy's mark says which") {
  Node node;
  auto& pod = node.record(info("a", ""));
  CHECK(node.row("a")["markUsers"] == "");
  pod.mark_users = {{77, "curl", 1, SocketAddress(IpAddress::v4({10, 0, 0, 9}), 80)}};
  CHECK(node.row("a")["markUsers"] == "curl (pid 77), 1 connection, one to 10.0.0.9:80");
}

TEST_CASE("a pod whose proxy went away is pending, though its rules hold") {
  Node node;
  auto& pod = node.record(info("a", ""));
  pod.rules = Rules::kPresent;
  pod.acked_by = 1;
  for (const zds::LinkId newest : {0, 2}) {
    node.newest = newest;
    CHECK(node.row("a")["state"] == "pending");
    CHECK(node.row("a")["unenforced"] == false);
    CHECK(node.page()["ztunnelConnected"] == (newest != 0));
  }
}

TEST_CASE("a pod that is served before its rules are there is pending") {
  Node node;
  node.record(info("a", "")).acked_by = 1;
  CHECK(node.row("a")["state"] == "pending");
  CHECK(node.row("a")["served"] == true);
  CHECK(node.row("a")["unenforced"] == true);
  CHECK(node.row("a")["next"] == "none");
}

TEST_CASE("a pod outside the mesh says why, one that ended is left out, one that leaves is leaving") {
  Node node;
  node.set.pods.push_back(info("a", "no label puts it into the mesh", false));
  auto ended = info("b", "");
  ended.finished = true;
  node.set.pods.push_back(ended);
  node.record(info("c", "")).wish = Wish::kOut;
  CHECK(node.page()["pods"].size() == 2);
  CHECK(node.row("a")["state"] == "outside");
  CHECK(node.row("a")["why"] == "no label puts it into the mesh");
  CHECK(node.row("c")["state"] == "leaving");
}

TEST_CASE("the page says where pods come from") {
  Node node;
  const auto page = node.page();
  CHECK(page["node"] == "node-a");
  CHECK(page["manifests"] == json{{"folder", "/state"}, {"files", 3}, {"unreadable", 1}});
}
