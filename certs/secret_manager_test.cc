#include "certs/secret_manager.h"

#include <catch2/catch_test_macros.hpp>
#include <deque>
#include <set>

#include "lib/async/manual_loop.h"
#include "lib/tls/test_authority.h"

using namespace weft;
using namespace weft::certs;
using namespace std::chrono_literals;

namespace {

model::Identity identity(const std::string& account) {
  return *model::Identity::parse("spiffe://cluster.local/ns/shop/sa/" + account);
}

// An authority that answers when told to; each request waits at a gate unless the gate stands open.
class FakeSource final : public CertificateSource {
 public:
  explicit FakeSource(Loop& loop) : loop_(loop), authority_(loop.clock().wall()), gate_(loop) { gate_.set(); }

  Task<Result<CredentialsPtr>> fetch(model::Identity identity, std::uint64_t generation, StopToken stop) override {
    asked.push_back(identity.service_account);
    ++now;
    most = std::max(most, now);
    while (!gate_.is_set()) {
      auto open = co_await gate_.wait(stop);
      if (!open) {
        --now;
        co_return fail(std::move(open).error());
      }
    }
    --now;
    if (failing) co_return fail(ErrorCode::kUnavailable, "signing gRPC error (Unavailable): no route");
    tls::Profile profile = authority_.leaf({.uris = {identity.to_string()}});
    profile.not_before = loop_.clock().wall() + skew;
    profile.not_after = profile.not_before + life;
    co_return authority_.credentials(profile, generation);
  }
  void close_gate() { gate_.reset(); }
  void open_gate() { gate_.set(); }

  std::vector<std::string> asked;
  bool failing = false;
  Duration life = 1h;
  Duration skew{};  // of the authority's clock
  int now = 0, most = 0;

 private:
  Loop& loop_;
  tls::TestAuthority authority_;
  Event gate_;
};

Task<void> keep(Task<Result<CredentialsPtr>> task, std::optional<Result<CredentialsPtr>>& out) {
  auto outcome = co_await std::move(task);
  out.emplace(std::move(outcome));
}

struct Rig {
  ManualLoop loop;
  FakeSource source{loop};
  SecretManager manager{loop, source};
  Scope scope{loop};
  ~Rig() {
    source.open_gate();
    loop.run(manager.stop());
    scope.request_stop();
    loop.run(scope.join());
  }
  std::string state(const SecretPtr& secret) { return secret->current()->to_string(); }
  bool serves_valid(const SecretPtr& secret) {
    const auto held = secret->current()->credentials;
    return held && held->not_before() <= loop.clock().wall() && loop.clock().wall() < held->not_after();
  }
};

}  // namespace

TEST_CASE("a certificate is fetched once, waited for, and renewed at half life with a new generation") {
  Rig rig;
  rig.source.close_gate();
  auto secret = rig.manager.request(identity("cart"), Priority::kWarmup);
  CHECK(rig.manager.request(identity("cart"), Priority::kWarmup) == secret);
  CHECK(rig.state(secret) == "Initializing");
  std::optional<Result<CredentialsPtr>> got;
  rig.scope.spawn(keep(secret->get(rig.loop, {}), got));
  rig.loop.run_until_idle();
  CHECK_FALSE(got.has_value());
  rig.source.open_gate();
  rig.loop.run_until_idle();
  REQUIRE(got.has_value());
  REQUIRE(got->has_value());
  const auto first = (**got);
  CHECK(rig.state(secret) == "Available");
  CHECK(*rig.manager.shortest_life() == 1h);
  rig.loop.advance(29min);
  CHECK(secret->current()->credentials == first);
  rig.loop.advance(2min);
  CHECK(rig.source.asked.size() == 2);
  CHECK(secret->current()->credentials->generation() > first->generation());
}

TEST_CASE("a waiting connection goes before warm-ups, warm-ups before renewals, at most eight at a time") {
  Rig rig;
  rig.source.close_gate();
  for (int i = 0; i < 8; ++i) rig.manager.request(identity("busy" + std::to_string(i)), Priority::kWarmup);
  auto slow = rig.manager.request(identity("background"), Priority::kBackground);
  rig.manager.request(identity("warm"), Priority::kWarmup);
  rig.manager.request(identity("bumped"), Priority::kWarmup);
  rig.manager.request(identity("real"), Priority::kRealTime);
  rig.manager.request(identity("bumped"), Priority::kRealTime);
  rig.manager.request(identity("bumped"), Priority::kWarmup);  // never lowers
  rig.loop.run_until_idle();
  CHECK(rig.source.asked.size() == 8);
  rig.source.open_gate();
  rig.loop.run_until_idle();
  CHECK(rig.source.most == 8);
  REQUIRE(rig.source.asked.size() == 12);
  CHECK(std::vector<std::string>(rig.source.asked.begin() + 8, rig.source.asked.end()) ==
        std::vector<std::string>{"real", "bumped", "warm", "background"});
}

TEST_CASE("somebody waiting for a queued identity gives it precedence") {
  Rig rig;
  rig.source.close_gate();
  for (int i = 0; i < 8; ++i) rig.manager.request(identity("busy" + std::to_string(i)), Priority::kWarmup);
  rig.manager.request(identity("first"), Priority::kWarmup);
  auto second = rig.manager.request(identity("second"), Priority::kWarmup);
  std::optional<Result<CredentialsPtr>> got;
  rig.scope.spawn(keep(second->get(rig.loop, {}), got));
  rig.loop.run_until_idle();
  rig.source.open_gate();
  rig.loop.run_until_idle();
  CHECK(rig.source.asked[8] == "second");
}

TEST_CASE("a failed renewal keeps the old certificate until it ends, and recovers") {
  Rig rig;
  auto secret = rig.manager.request(identity("cart"), Priority::kRealTime);
  rig.loop.run_until_idle();
  const auto first = secret->current()->credentials;
  REQUIRE(first);
  rig.source.failing = true;
  rig.loop.advance(45min);
  CHECK(secret->current()->credentials == first);
  CHECK(rig.source.asked.size() > 5);
  CHECK(*rig.manager.shortest_life() == 15min);
  rig.loop.advance(15min);
  rig.loop.advance(1s);
  CHECK(rig.state(secret) == "Unavailable: signing gRPC error (Unavailable): no route");
  CHECK_FALSE(rig.manager.shortest_life());
  // Callers do not wait for the next attempt.
  auto got = rig.loop.run(secret->get(rig.loop, {}));
  REQUIRE_FALSE(got);
  CHECK(got.error().code() == ErrorCode::kUnavailable);
  rig.source.failing = false;
  rig.loop.advance(150s);
  CHECK(rig.state(secret) == "Available");
}

TEST_CASE("attempts without any certificate back off") {
  Rig rig;
  rig.source.failing = true;
  auto secret = rig.manager.request(identity("cart"), Priority::kRealTime);
  rig.loop.advance(60s);
  CHECK(rig.source.asked.size() >= 5);
  CHECK(rig.source.asked.size() <= 7);
  CHECK(rig.manager.entries().front().next_attempt.has_value());
}

TEST_CASE("a success makes the next failures wait as little as the first ones") {
  Rig rig;
  rig.source.failing = true;
  auto secret = rig.manager.request(identity("cart"), Priority::kRealTime);
  rig.loop.advance(20s);
  const auto attempts = rig.source.asked.size();
  REQUIRE(attempts >= 3);
  rig.loop.advance(30min);
  rig.source.failing = false;
  rig.loop.advance(3min);
  REQUIRE(rig.state(secret) == "Available");
  rig.source.failing = true;
  rig.source.asked.clear();
  const auto renewal = *rig.manager.entries().front().next_attempt - rig.loop.clock().wall();
  rig.loop.advance(std::chrono::duration_cast<Duration>(renewal) + 20s);
  CHECK(rig.source.asked.size() + 1 >= attempts);
}

TEST_CASE("a forgotten identity is dropped while queued, while in flight and while scheduled") {
  Rig rig;
  rig.source.close_gate();
  auto in_flight = rig.manager.request(identity("inflight"), Priority::kWarmup);
  for (int i = 0; i < 7; ++i) rig.manager.request(identity("busy" + std::to_string(i)), Priority::kWarmup);
  auto queued = rig.manager.request(identity("queued"), Priority::kWarmup);
  std::optional<Result<CredentialsPtr>> waiter;
  rig.scope.spawn(keep(queued->get(rig.loop, {}), waiter));
  rig.loop.run_until_idle();
  rig.manager.forget(identity("queued"));
  rig.manager.forget(identity("inflight"));
  rig.loop.run_until_idle();
  REQUIRE(waiter.has_value());
  REQUIRE_FALSE(waiter->has_value());
  CHECK(waiter->error().message() == "the identity is no longer needed");
  rig.source.open_gate();
  rig.loop.run_until_idle();
  CHECK(rig.state(in_flight) == "Unavailable: the identity is no longer needed");
  CHECK(rig.manager.entries().size() == 7);
  const std::size_t before = rig.source.asked.size();
  for (int i = 0; i < 7; ++i) rig.manager.forget(identity("busy" + std::to_string(i)));
  rig.loop.advance(2h);
  CHECK(rig.source.asked.size() == before);
  CHECK(rig.manager.entries().empty());
  // Asked for again, it starts afresh.
  auto again = rig.manager.request(identity("queued"), Priority::kWarmup);
  rig.loop.run_until_idle();
  CHECK(rig.state(again) == "Available");
}

TEST_CASE("a request without an answer gives its slot back") {
  Rig rig;
  rig.source.close_gate();
  auto secret = rig.manager.request(identity("cart"), Priority::kRealTime);
  rig.loop.advance(31s);
  CHECK(rig.state(secret) == "Unavailable: certificate request timed out after 30s");
}

TEST_CASE("a clock that is set, either way, renews every certificate at once; one that is corrected renews none") {
  for (const Duration jump : {Duration(24h * 366), Duration(-24h * 366), Duration(40min), Duration(-11s)}) {
    Rig rig;
    auto secret = rig.manager.request(identity("cart"), Priority::kRealTime);
    rig.loop.run_until_idle();
    rig.loop.manual_clock().set_wall(rig.loop.clock().wall() + 2s);
    rig.loop.advance(10s);
    CHECK(rig.source.asked.size() == 1);
    rig.loop.manual_clock().set_wall(rig.loop.clock().wall() + jump);
    rig.loop.advance(SecretManager::kClockCheck);
    CHECK(rig.source.asked.size() == 2);
    const auto& fresh = *secret->current()->credentials;
    CHECK((fresh.not_before() <= rig.loop.clock().wall() && rig.loop.clock().wall() < fresh.not_after()));
    rig.loop.advance(1min);
    CHECK(rig.source.asked.size() == 2);
  }
}

TEST_CASE("a certificate asked for while the clock was wrong for a moment is renewed") {
  for (const Duration jump : {Duration(24h * 366), Duration(-50min)}) {
    Rig rig;
    auto first = rig.manager.request(identity("users"), Priority::kRealTime);
    rig.loop.run_until_idle();
    rig.loop.manual_clock().set_wall(rig.loop.clock().wall() + jump);
    auto secret = rig.manager.request(identity("cart"), Priority::kRealTime);
    rig.loop.run_until_idle();
    rig.loop.manual_clock().set_wall(rig.loop.clock().wall() - jump);
    rig.loop.advance(SecretManager::kClockCheck);
    CHECK(rig.source.asked == std::vector<std::string>{"users", "cart", "cart"});
    const auto& fresh = *secret->current()->credentials;
    CHECK((fresh.not_before() <= rig.loop.clock().wall() && rig.loop.clock().wall() < fresh.not_after()));
    rig.loop.advance(1min);
    CHECK(rig.source.asked.size() == 3);
  }
}

TEST_CASE("an authority whose clock is behind takes no valid certificate away and is asked in measure") {
  Rig rig;
  auto secret = rig.manager.request(identity("cart"), Priority::kRealTime);
  rig.loop.run_until_idle();
  const auto first = secret->current()->credentials;
  rig.source.skew = -2h;  // its certificates are born two hours old and live for one
  for (int minute = 0; minute < 59; ++minute) {
    rig.loop.advance(1min);
    REQUIRE(secret->current()->credentials == first);
  }
  const auto asked = rig.source.asked.size();
  CHECK(asked > 5);
  CHECK(asked <= 25);
  // Its end: what there is is served, since it may be this node's clock that is wrong, and there is still measure.
  rig.loop.advance(2h);
  CHECK(secret->current()->credentials != first);
  CHECK(rig.state(secret) == "Available");
  CHECK(rig.source.asked.size() - asked <= 2 * (2h / Backoff::kMax));
  rig.source.skew = {};
  rig.loop.advance(Backoff::kMax);
  CHECK(rig.serves_valid(secret));
}

TEST_CASE("an authority whose clock is ahead has its certificates served from when they begin") {
  Rig rig;
  auto secret = rig.manager.request(identity("cart"), Priority::kRealTime);
  rig.loop.run_until_idle();
  rig.source.skew = 20min;
  std::set<std::uint64_t> generations;
  for (int minute = 0; minute < 10 * 60; ++minute) {
    rig.loop.advance(1min);
    REQUIRE(rig.serves_valid(secret));
    generations.insert(secret->current()->credentials->generation());
  }
  CHECK(generations.size() >= 10 * 60 / 60);
  CHECK(generations.size() <= 2 * 10 * 60 / 30);
  CHECK(static_cast<long>(rig.source.asked.size()) <= 2 * (10h / Backoff::kMax));
}

TEST_CASE("a first certificate that has not begun is served for want of a better one, and kept until it begins") {
  Rig rig;
  rig.source.skew = 10min;
  auto secret = rig.manager.request(identity("cart"), Priority::kRealTime);
  rig.loop.run_until_idle();
  const auto first = secret->current()->credentials;
  REQUIRE(first);
  rig.loop.advance(9min);
  CHECK(rig.source.asked.size() > 5);
  CHECK(secret->current()->credentials == first);
  for (int minute = 0; minute < 3 * 60; ++minute) {
    rig.loop.advance(1min);
    REQUIRE(rig.serves_valid(secret));
  }
  // A clock that is right again is noticed at the next attempt.
  Rig other;
  other.source.skew = 24h * 366;
  secret = other.manager.request(identity("cart"), Priority::kRealTime);
  other.loop.run_until_idle();
  other.source.skew = {};
  other.loop.advance(SecretManager::kRepairPause);
  CHECK(other.serves_valid(secret));
}

TEST_CASE("an authority that is away for a day is asked in measure all the time, and found soon after its return") {
  Rig rig;
  auto secret = rig.manager.request(identity("cart"), Priority::kRealTime);
  rig.loop.run_until_idle();
  rig.source.failing = true;
  rig.loop.advance(24h);
  CHECK(rig.state(secret).starts_with("Unavailable"));
  const auto asked = static_cast<long>(rig.source.asked.size());
  CHECK(asked >= 23h / Backoff::kMax);
  CHECK(asked <= 2 * (24h / Backoff::kMax));
  rig.source.failing = false;
  rig.loop.advance(Backoff::kMax);
  CHECK(rig.state(secret) == "Available");
}

TEST_CASE("many holders of many identities all get their certificate") {
  Rig rig;
  constexpr int kHolders = 200;
  std::vector<std::optional<Result<CredentialsPtr>>> got(kHolders);
  for (int i = 0; i < kHolders; ++i) {
    auto secret = rig.manager.request(identity("account" + std::to_string(i % 40)), Priority::kRealTime);
    rig.scope.spawn(keep(secret->get(rig.loop, {}), got[static_cast<std::size_t>(i)]));
  }
  rig.loop.run_until_idle();
  CHECK(rig.source.asked.size() == 40);
  for (const auto& one : got) CHECK((one.has_value() && one->has_value()));
}
