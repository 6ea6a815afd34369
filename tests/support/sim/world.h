// A world that exists in one thread and repeats for a seed: virtual time, several loops standing for threads, a network, and
// faults.
//
// Each step picks one runnable loop by chance and runs one of its actions; when no loop has anything to do, time jumps to
// the next timer or arrival. Everything that chance decides comes from the seed, so a failure is replayed by its seed alone.
// Objects made on the world's loops must be gone before the world.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/async/loop.h"
#include "lib/async/manual_loop.h"
#include "lib/async/timer_queue.h"

namespace weft::sim {

class World;

// One thread of one simulated process.
class SimLoop final : public Loop {
 public:
  SimLoop(World& world, std::string name, std::uint64_t seed);
  void post(std::function<void()> action) override {
    if (!retired_) posted_.push_back(std::move(action));
  }
  void post_from_any_thread(std::function<void()> action) override { post(std::move(action)); }
  // There is one real thread; code that asks means "not from outside".
  bool on_loop_thread() const override { return true; }
  void arm(Timer& timer, MonotonicTime deadline) override { timers_.arm(timer, deadline); }
  const Clock& clock() const override;
  Random& random() override { return random_; }
  const std::string& name() const { return name_; }
  // The process that this is a thread of was killed: whatever it still does has no effect outside (process.h).
  bool killed() const { return killed_; }
  void kill() { killed_ = true; }
  // Everything that was made on the loop is gone: what is posted runs no more.
  void retire();

 private:
  friend class World;
  World& world_;
  std::string name_;
  SeededRandom random_;
  std::deque<std::function<void()>> posted_;
  TimerQueue timers_;
  bool killed_ = false;
  bool retired_ = false;
};

// Whether `loop` is a thread of a process that was killed.
bool killed(const Loop& loop);

class World {
 public:
  explicit World(std::uint64_t seed);
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  std::uint64_t seed() const { return seed_; }
  Random& random() { return random_; }
  ManualClock& clock() { return clock_; }
  SimLoop& make_loop(const std::string& name);

  // Runs `action` at `time`, as part of the world itself (a packet arrives, a fault strikes).
  void at(MonotonicTime time, std::function<void()> action);
  void after(Duration delay, std::function<void()> action) { at(clock_.monotonic() + delay, std::move(action)); }

  // One action of one loop, or one jump in time; false when nothing can ever happen again.
  bool step();
  // Steps until `done`; false when the world stands still first, or after `steps_max`.
  bool run_until(const std::function<bool()>& done, std::uint64_t steps_max = 50'000'000);
  // Steps until `by` has passed.
  void run_for(Duration by);
  // Runs a task to its end; the check fails if it never ends.
  void run(Task<void> task);

  std::uint64_t steps() const { return steps_; }
  // Digest of every choice so far: equal for equal seeds and programs.
  std::uint64_t trace() const { return trace_; }
  // Makes an outcome part of the trace.
  void note(std::uint64_t choice) { trace_ = (trace_ ^ choice) * 1099511628211u; }

 private:
  bool run_one_action();
  bool advance_time();

  std::uint64_t seed_;
  SeededRandom random_;
  ManualClock clock_;
  std::vector<std::unique_ptr<SimLoop>> loops_;
  std::multimap<MonotonicTime, std::function<void()>> arrivals_;
  std::vector<SimLoop*> runnable_;
  std::uint64_t steps_ = 0;
  std::uint64_t trace_ = 1469598103934665603u;
};

}  // namespace weft::sim
