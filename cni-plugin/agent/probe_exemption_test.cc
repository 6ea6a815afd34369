#include "cni-plugin/agent/probe_exemption.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/async/scope.h"
#include "tests/support/sim/world.h"

using namespace weft;
using namespace weft::cni::agent;
using namespace std::chrono_literals;
namespace redirect = weft::cni::redirect;

namespace {

// The node's rules; a write takes a moment.
class Kernel final : public PodNetwork {
 public:
  explicit Kernel(Loop& loop) : loop_(loop) {}
  Task<Result<void>> exempt_probes(redirect::ProbedPods pods) override {
    ++writes;
    auto slept = co_await sleep_for(loop_, 10ms, {});
    if (!slept || broken) co_return fail(ErrorCode::kUnsupported, "no nat");
    probed = std::move(pods);
    co_return Result<void>{};
  }
  Task<Result<bool>> probes_are_exempt(redirect::ProbedPods pods) override { co_return probed == pods; }
  Task<Result<void>> exempt_no_probes() override { co_return unexpected(); }
  Task<Result<void>> redirect(NetnsPtr) override { co_return unexpected(); }
  Task<Result<void>> prepare(NetnsPtr) override { co_return unexpected(); }
  Task<Result<void>> release(NetnsPtr) override { co_return unexpected(); }
  Task<Result<bool>> is_redirected(NetnsPtr) override { co_return unexpected(); }
  Task<Result<std::vector<MarkUser>>> find_mark_users(NetnsPtr, PodProcesses) override { co_return unexpected(); }
  Task<Result<bool>> has_rules(NetnsPtr) override { co_return unexpected(); }
  Task<Result<NetnsPtr>> open(std::string) override { co_return unexpected(); }
  Task<Result<NetnsScanPtr>> scan() override { co_return unexpected(); }

  redirect::ProbedPods probed;
  int writes = 0;
  bool broken = false;

 private:
  static std::unexpected<Error> unexpected() {
    FAIL("not part of this test");
    return fail(ErrorCode::kInternal, "");
  }
  Loop& loop_;
};

struct Fixture {
  sim::World world{3};
  Loop& loop = world.make_loop("agent");
  Kernel kernel{loop};
  Metrics metrics;
  ProbeExemption probes{loop, kernel, metrics};
  Scope scope{loop};
  std::map<std::string, std::string> answers;

  ~Fixture() {
    scope.request_stop();
    world.run(scope.join());
  }
  static Task<void> ask(Fixture& self, std::string uid, std::vector<IpAddress> ips) {
    auto name = uid;
    auto done = co_await self.probes.set(std::move(name), std::move(ips));
    self.answers[uid] = done ? "ok" : done.error().message();
  }
  void begin(const std::string& uid, const std::vector<std::string>& addresses) {
    std::vector<IpAddress> ips;
    for (const auto& address : addresses) ips.push_back(ip(address));
    scope.spawn(ask(*this, uid, std::move(ips)));
  }
  std::string set(const std::string& uid, const std::vector<std::string>& addresses) {
    answers.erase(uid);
    begin(uid, addresses);
    REQUIRE(world.run_until([&] { return answers.contains(uid); }, 10'000));
    return answers[uid];
  }
  static IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }
};

using Table = redirect::ProbedPods;

}  // namespace

TEST_CASE("the first write replaces what was there by the pods enrolled before") {
  Fixture f;
  f.kernel.probed = {{Fixture::ip("10.0.0.9"), "stale"}};
  f.probes.adopt("a", {Fixture::ip("10.0.0.1")});
  CHECK(f.kernel.writes == 0);
  f.scope.spawn(f.probes.run(f.scope.token()));
  f.world.run_for(1s);
  CHECK(f.kernel.probed == Table{{Fixture::ip("10.0.0.1"), "a"}});
  CHECK(f.kernel.writes == 1);
  CHECK(f.set("a", {"10.0.0.1"}) == "ok");
  CHECK(f.kernel.writes == 1);
}

TEST_CASE("an address that another pod has by now stays when its former pod goes") {
  Fixture f;
  CHECK(f.set("old", {"10.0.0.1", "fd00::1"}) == "ok");
  CHECK(f.set("new", {"10.0.0.1"}) == "ok");
  CHECK(f.set("old", {}) == "ok");
  CHECK(f.kernel.probed == Table{{Fixture::ip("10.0.0.1"), "new"}});
  CHECK(f.set("new", {"10.0.0.2"}) == "ok");
  CHECK(f.kernel.probed == Table{{Fixture::ip("10.0.0.2"), "new"}});
  CHECK(f.set("never-seen", {}) == "ok");
}

TEST_CASE("many pods at once share a write") {
  Fixture f;
  for (int i = 1; i <= 100; ++i) f.begin("p" + std::to_string(i), {"10.0.0." + std::to_string(i)});
  REQUIRE(f.world.run_until([&] { return f.answers.size() == 100; }, 100'000));
  CHECK(f.kernel.probed.size() == 100);
  CHECK(f.kernel.writes == 2);
}

TEST_CASE("a failed write is everybody's answer, and the next try's success everybody's change") {
  Fixture f;
  f.kernel.broken = true;
  for (int i = 1; i <= 50; ++i) f.begin("p" + std::to_string(i), {"10.0.0." + std::to_string(i)});
  REQUIRE(f.world.run_until([&] { return f.answers.size() == 50; }, 100'000));
  for (const auto& [uid, answer] : f.answers) CHECK(answer == "no nat");
  CHECK(f.kernel.writes == 2);
  f.kernel.broken = false;
  CHECK(f.set("p1", {"10.0.0.1"}) == "ok");
  CHECK(f.kernel.probed.size() == 50);
}

TEST_CASE("rules that were changed by others come back, also after failures") {
  Fixture f;
  f.scope.spawn(f.probes.run(f.scope.token()));
  CHECK(f.set("a", {"10.0.0.1"}) == "ok");
  f.kernel.probed.clear();
  f.kernel.broken = true;
  f.world.run_for(ProbeExemption::kVerifyInterval + 1s);
  CHECK(f.kernel.probed.empty());
  f.kernel.broken = false;
  f.world.run_for(ProbeExemption::kRetryPause + 1s);
  CHECK(f.kernel.probed == Table{{Fixture::ip("10.0.0.1"), "a"}});
  const auto writes = f.kernel.writes;
  f.world.run_for(1min);
  CHECK(f.kernel.writes == writes);
}

TEST_CASE("a pod with too many addresses is refused and disturbs nobody") {
  Fixture f;
  CHECK(f.set("a", {"10.0.0.1"}) == "ok");
  const std::vector<std::string> many(redirect::kProbedAddressesMax, "10.0.0.2");
  CHECK(f.set("b", many) == "the pods of this node have more than 4096 addresses");
  CHECK(f.kernel.probed == Table{{Fixture::ip("10.0.0.1"), "a"}});
  CHECK(f.set("c", {"10.0.0.3"}) == "ok");
}
