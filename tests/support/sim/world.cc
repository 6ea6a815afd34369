#include "tests/support/sim/world.h"

#include <algorithm>

#include "lib/base/check.h"

namespace weft::sim {
namespace {

struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
  };
};

Detached drive(Task<void> task, bool& done) {
  {
    Task<void> owned = std::move(task);
    co_await std::move(owned);
  }
  done = true;
}

}  // namespace

SimLoop::SimLoop(World& world, std::string name, std::uint64_t seed)
    : world_(world), name_(std::move(name)), random_(seed) {}

const Clock& SimLoop::clock() const { return world_.clock(); }

void SimLoop::retire() {
  retired_ = true;
  // What an action holds may post again while it is destroyed.
  const auto dropped = std::move(posted_);
  posted_.clear();
}

bool killed(const Loop& loop) {
  const auto* sim = dynamic_cast<const SimLoop*>(&loop);
  return sim && sim->killed();
}

World::World(std::uint64_t seed) : seed_(seed), random_(seed) {}

World::~World() = default;

SimLoop& World::make_loop(const std::string& name) {
  loops_.push_back(std::make_unique<SimLoop>(*this, name, random_.next()));
  return *loops_.back();
}

void World::at(MonotonicTime time, std::function<void()> action) { arrivals_.emplace(time, std::move(action)); }

bool World::step() {
  ++steps_;
  return run_one_action() || advance_time();
}

bool World::run_one_action() {
  const auto now = clock_.monotonic();
  runnable_.clear();
  for (auto& loop : loops_) {
    const auto next = loop->timers_.next_deadline();
    if (!loop->posted_.empty() || (next && *next <= now)) runnable_.push_back(loop.get());
  }
  if (runnable_.empty()) return false;
  const auto choice = random_.below(runnable_.size());
  SimLoop& loop = *runnable_[choice];
  const auto next = loop.timers_.next_deadline();
  const bool timer_due = next && *next <= now;
  // Timers and posted actions of one loop interleave by chance too.
  const bool run_timer = timer_due && (loop.posted_.empty() || random_.below(2) == 0);
  note(choice * 2 + run_timer);
  if (run_timer) {
    loop.timers_.run_due(now);
    return true;
  }
  auto action = std::move(loop.posted_.front());
  loop.posted_.pop_front();
  action();
  return true;
}

bool World::advance_time() {
  std::optional<MonotonicTime> next;
  if (!arrivals_.empty()) next = arrivals_.begin()->first;
  for (auto& loop : loops_) {
    const auto deadline = loop->timers_.next_deadline();
    if (deadline && (!next || *deadline < *next)) next = deadline;
  }
  if (!next) return false;
  if (*next > clock_.monotonic()) clock_.advance(*next - clock_.monotonic());
  note(static_cast<std::uint64_t>(clock_.monotonic().time_since_epoch().count()));
  while (!arrivals_.empty() && arrivals_.begin()->first <= clock_.monotonic()) {
    auto action = std::move(arrivals_.begin()->second);
    arrivals_.erase(arrivals_.begin());
    action();
  }
  return true;
}

bool World::run_until(const std::function<bool()>& done, std::uint64_t steps_max) {
  for (std::uint64_t i = 0; !done(); ++i) {
    if (i >= steps_max || !step()) return done();
  }
  return true;
}

void World::run_for(Duration by) {
  bool passed = false;
  after(by, [&passed] { passed = true; });
  run_until([&passed] { return passed; });
}

void World::run(Task<void> task) {
  bool done = false;
  drive(std::move(task), done);
  const bool ended = run_until([&done] { return done; });
  WEFT_CHECK(ended && "the task waits for something that never comes");
}

}  // namespace weft::sim
