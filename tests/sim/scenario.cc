#include "tests/sim/scenario.h"

#include <algorithm>
#include <deque>

#include "lib/base/log.h"
#include "tests/sim/faults.h"
#include "tests/sim/mesh.h"
#include "tests/support/sim/openssl_random.h"

namespace weft::simulation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The authority asks again after up to 150 s (certs/schedule.h), and a proxy may need it twice.
constexpr Duration kRecovery = seconds(400);
constexpr std::size_t kPodsMin = 2, kPodsMax = 5;
const char* const kNamespaces[] = {"red", "blue"};

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed ^ 0x9e3779b97f4a7c15u) {}
  std::uint64_t below(std::uint64_t bound) { return random_.below(bound); }
  std::uint64_t between(std::uint64_t low, std::uint64_t high) { return low + random_.below(high - low + 1); }
  bool chance(double probability) { return random_.unit() < probability; }
  Random& random() { return random_; }

 private:
  SeededRandom random_;
};

MeshFacts draw_facts(Draw& draw) {
  MeshFacts facts;
  const auto count = draw.between(kPodsMin, kPodsMax);
  for (std::size_t i = 0; i < count; ++i) {
    PodFacts pod;
    pod.name = fmt::format("pod-{}", i);
    pod.namespace_name = kNamespaces[draw.below(2)];
    // Now and then two pods share an account.
    pod.account = i > 0 && draw.chance(0.35) ? facts.pods.back().account : pod.name;
    pod.node = i < 2 ? i : draw.below(2);
    pod.ip = IpAddress::v4({10, 1, static_cast<std::uint8_t>(pod.node), static_cast<std::uint8_t>(10 + i)});
    pod.uid = "uid-" + pod.name;
    pod.labelled = i < 2 || draw.chance(0.75);
    facts.pods.push_back(std::move(pod));
  }
  facts = with_security(std::move(facts), draw.random());
  return facts;
}

Call draw_call(Draw& draw, std::size_t pods) {
  Call call;
  call.client = draw.below(pods);
  call.server = (call.client + 1 + draw.below(pods - 1)) % pods;
  call.style = static_cast<Style>(draw.below(5));
  const auto size = [&] { return draw.chance(0.2) ? draw.between(20'000, 400'000) : draw.between(kBlock, 8'000); };
  call.upload = size();
  call.download = size();
  if (call.style == Style::kDuplex && draw.chance(0.7)) {
    // A long one, in pieces of 8 KB: four to eight seconds.
    call.upload = draw.between(60'000, 120'000);
    call.pause = milliseconds(draw.between(300, 600));
  } else if (draw.chance(0.3)) {
    call.pause = milliseconds(draw.between(1, 50));
  }
  return call;
}

std::uint16_t port_of(const Call& call) { return call.style == Style::kServerFirst ? kServerFirstPort : kClientFirstPort; }

class Run {
 public:
  Run(std::uint64_t seed, Draw& draw)
      : draw_(draw),
        mesh_(seed,
              {.proxy = {.workers = static_cast<unsigned>(draw.between(1, 2)),
                         .streams_max = static_cast<unsigned>(draw.chance(0.5) ? draw.between(1, 3) : 100)},
               .certificate_life = draw.chance(0.3) ? std::chrono::minutes(2) : std::chrono::hours(1)},
              draw_facts(draw)) {}

  Mesh& mesh() { return mesh_; }

  void run() {
    mesh_.start();
    if (!come_to_rest("the mesh does not start")) return;
    if (!chaos()) return;
    trouble_.end();
    if (!come_to_rest("the mesh does not recover")) return;
    if (!everything_works()) return;
    if (!mesh_.run_for(2 * kUnusedRelease + seconds(5))) return;
    if (const auto left = mesh_.tunnels(); left != 0)
      return mesh_.watch().fail(fmt::format("{} connections between proxies outlive their use", left));
    mesh_.finish();
  }

  void count(Outcome& outcome) const {
    outcome.calls = calls_.size();
    outcome.complete = static_cast<std::uint64_t>(std::ranges::count_if(calls_, [](const auto& c) { return c.complete; }));
    outcome.faults = faults_;
  }

 private:
  bool failed() { return !mesh_.watch().failure().empty(); }

  void call(const Call& plan) {
    if (!mesh_.pod_started(plan.client) || !mesh_.pod_started(plan.server)) return;
    calls_.emplace_back();
    const auto& server = mesh_.facts().pods[plan.server];
    mesh_.traffic().spawn(
        mesh_.traffic().call(mesh_.pod_host(plan.client), SocketAddress(server.ip, port_of(plan)), plan, calls_.back()));
    mesh_.watch().say(fmt::format("call {}: {} -> {} port {}", calls_.back().tag, plan.client, plan.server, port_of(plan)));
  }

  bool come_to_rest(const char* complaint) {
    const auto end = mesh_.world().clock().monotonic() + kRecovery;
    while (!mesh_.settled()) {
      if (failed()) return false;
      if (mesh_.world().clock().monotonic() >= end) {
        mesh_.watch().fail(complaint);
        return false;
      }
      if (!mesh_.run_for(milliseconds(500))) return false;
    }
    return !failed();
  }

  bool chaos() {
    std::multimap<Duration, std::function<void()>> plan;
    const Duration length = seconds(draw_.between(6, 14));
    const auto when = [&] { return Duration(draw_.below(static_cast<std::uint64_t>(length.count()))); };
    const auto calls = draw_.between(5, 16);
    for (std::uint64_t i = 0; i < calls; ++i) {
      const Call one = draw_call(draw_, mesh_.facts().pods.size());
      plan.emplace(when(), [this, one] { call(one); });
    }
    for (auto& fault : trouble_.draw(length)) {
      ++faults_;
      plan.emplace(fault.at, std::move(fault.strike));
    }
    Duration passed{};
    for (auto& [at, action] : plan) {
      if (at > passed && !mesh_.run_for(at - passed)) return false;
      passed = at;
      action();
    }
    return mesh_.run_for(seconds(2));
  }

  // Every call that should succeed does, in the end; those that should not are judged by the watch.
  bool everything_works() {
    const auto pods = mesh_.facts().pods.size();
    for (std::uint64_t i = 0; i < 6; ++i) {
      Call plan;
      plan.client = draw_.below(pods);
      plan.server = (plan.client + 1 + draw_.below(pods - 1)) % pods;
      plan.upload = draw_.between(kBlock, 4'000);
      plan.download = draw_.between(kBlock, 4'000);
      const auto& facts = mesh_.facts();
      const auto way = facts.pods[plan.client].labelled ? Way::kTunnel : Way::kPlain;
      const bool expected = !facts.pods[plan.server].labelled || may(facts, plan.client, plan.server, port_of(plan), way);
      const auto end = mesh_.world().clock().monotonic() + kRecovery;
      for (;;) {
        call(plan);
        const auto ended = [&] { return mesh_.traffic().running() == 0; };
        if (!mesh_.run_until(ended, seconds(120))) {
          mesh_.watch().fail(fmt::format("{} calls hang", mesh_.traffic().running()));
          return false;
        }
        if (!expected || calls_.back().complete) break;
        if (mesh_.world().clock().monotonic() >= end) {
          mesh_.watch().fail(
              fmt::format("{} does not reach {} after the faults: {}", plan.client, plan.server, calls_.back().error));
          return false;
        }
        if (!mesh_.run_for(seconds(1))) return false;
      }
    }
    return true;
  }

  Draw& draw_;
  Mesh mesh_;
  Faults trouble_{mesh_, draw_.random()};
  std::deque<CallOutcome> calls_;
  std::uint64_t faults_ = 0;
};

}  // namespace

Outcome run_seed(std::uint64_t seed, const std::function<void(const std::string&)>& follow) {
  sim::seed_openssl(seed);
  Draw draw(seed);
  auto run = std::make_unique<Run>(seed, draw);
  Mesh& mesh = run->mesh();
  if (follow) {
    mesh.watch().trace = [&mesh, &follow](const std::string& what) {
      const auto time = mesh.world().clock().monotonic().time_since_epoch() - std::chrono::hours(1);
      follow(fmt::format("[{:12.6f}] {}", std::chrono::duration<double>(time).count(), what));
    };
  }
  run->run();
  Outcome outcome;
  outcome.failure = mesh.watch().failure();
  outcome.trace = mesh.world().trace();
  outcome.steps = mesh.world().steps();
  run->count(outcome);
  for (const auto& [tag, flow] : mesh.watch().flows()) outcome.bytes += mesh.watch().sending(tag).sent;
  if (!outcome.failure.empty()) (void)run.release();
  return outcome;
}

}  // namespace weft::simulation
