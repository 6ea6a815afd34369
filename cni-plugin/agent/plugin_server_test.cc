#include "cni-plugin/agent/plugin_server.h"

#include <catch2/catch_test_macros.hpp>

#include "cni-plugin/agent/test_reconciler.h"

using namespace weft;
using namespace weft::cni::agent;
using namespace std::chrono_literals;

namespace {

// What the state says; changes at the nth look.
class Source final : public PodSource {
 public:
  explicit Source(PodSet& set) : set_(set) {}
  const PodSet& pods() const override { return set_; }
  void refresh() override {
    if (looks_left > 0 && --looks_left == 0) change();
  }
  int looks_left = 0;
  std::function<void()> change;

 private:
  PodSet& set_;
};

struct Started : Fixture {
  Started() {
    start();
    node.spaces[7] = {};
  }
};

struct Server {
  static Task<void> ask(Server& self, std::string body, admin::Response& out) {
    admin::Request request;
    request.method = "POST";
    request.path = "/cmdadd";
    request.body = std::move(body);
    auto got = co_await self.server.plugin_request(std::move(request), StopToken());
    out = std::move(got);
  }
  // An add event with these fields beside the usual ones.
  admin::Response add(const std::string& more = "") {
    admin::Response out;
    f.world.run(
        ask(*this, R"({"Netns":"/run/netns/)" + netns + R"(","PodName":"front","PodNamespace":"shop")" + more + "}", out));
    return out;
  }
  PodInfo& pod(const std::string& uid) {
    auto& info = f.pod(uid, "");
    info.name = "front";
    return info;
  }
  void change_at_look(int look, std::function<void()> change) {
    source.looks_left = look;
    source.change = std::move(change);
  }

  std::string netns = "7";
  Started f;
  Source source{f.set};
  Metrics metrics;
  PluginServer server{f.loop, source, f.node, f.agent->reconciler, metrics, ""};
};

}  // namespace

TEST_CASE("a pod of the mesh is enrolled by its name, and by its UID when the plugin says it") {
  Server s;
  s.pod("u-1");
  SECTION("by its name") { CHECK(s.add().status == 200); }
  SECTION("by its UID") { CHECK(s.add(R"(,"PodUID":"u-1")").status == 200); }
  SECTION("by the UID of a static pod") {
    s.f.set.pods[0].static_uid = "hash-1";
    CHECK(s.add(R"(,"PodUID":"hash-1")").status == 200);
  }
  SECTION("by its name, when its object has no UID") {
    s.f.set.pods[0].uid = "shop/front";
    CHECK(s.add(R"(,"PodUID":"u-9")").status == 200);
    CHECK(s.f.serving("shop/front"));
    return;
  }
  CHECK(s.f.serving("u-1"));
}

TEST_CASE("a pod whose namespace nobody describes starts outside the mesh, but not before the agent has looked for it") {
  Server s;
  auto& pod = s.pod("u-1");
  pod.wanted = false;
  SECTION("outside") {
    pod.undecided = true;
    CHECK(s.add().status == 200);
    CHECK(s.f.node.log.empty());
    CHECK(s.f.agent->reconciler.pods().empty());
  }
  SECTION("its namespace comes") {
    pod.undecided = true;
    s.change_at_look(5, [&] { pod.wanted = !(pod.undecided = false); });
    CHECK(s.add().status == 200);
    CHECK(s.f.serving("u-1"));
  }
  SECTION("it was enrolled before") {
    pod.wanted = true;
    CHECK(s.add().status == 200);
    pod.wanted = !(pod.undecided = true);
    s.f.update();
    s.f.node.spaces[8] = {};
    s.netns = "8";
    CHECK(s.add().status == 200);
    CHECK(s.f.enrolled("u-1", 8));
  }
  SECTION("the control: one that is known to be outside is refused, for the plugin should not have asked") {
    CHECK(s.add().status == 500);
  }
}

TEST_CASE("an object of the same name with another UID is an earlier pod, and is not what starts") {
  Server s;
  s.pod("u-1");
  SECTION("the new one does not come") {
    const auto got = s.add(R"(,"PodUID":"u-2")");
    CHECK(got.status == 500);
    CHECK(got.body == "pod shop/front is not enrolled: no such pod on this node: the one of that name has UID u-1, not u-2");
    CHECK(s.f.node.log.empty());
    CHECK(s.f.agent->reconciler.pods().empty());
  }
  SECTION("the new one comes while the agent looks") {
    s.change_at_look(3, [&] { s.f.set.pods[0].uid = "u-2"; });
    CHECK(s.add(R"(,"PodUID":"u-2")").status == 200);
    CHECK(s.f.serving("u-2"));
    CHECK_FALSE(s.f.serving("u-1"));
  }
}
