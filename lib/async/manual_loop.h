// A loop that moves only when told to: time stands still until advanced. For unit tests and as the simulation's core.
#pragma once

#include <deque>
#include <functional>
#include <optional>

#include "lib/async/loop.h"
#include "lib/async/timer_queue.h"
#include "lib/base/check.h"

namespace weft {

class ManualClock final : public Clock {
 public:
  MonotonicTime monotonic() const override { return monotonic_; }
  WallTime wall() const override { return wall_; }
  void advance(Duration by) {
    monotonic_ += by;
    wall_ += by;
  }
  // A jump of the wall clock alone.
  void set_wall(WallTime wall) { wall_ = wall; }

 private:
  MonotonicTime monotonic_{std::chrono::hours(1)};
  WallTime wall_{std::chrono::seconds(1'800'000'000)};  // 2027-01-15
};

class ManualLoop final : public Loop {
 public:
  explicit ManualLoop(std::uint64_t seed = 1) : random_(seed) {}

  void post(std::function<void()> action) override { posted_.push_back(std::move(action)); }
  void post_from_any_thread(std::function<void()> action) override { post(std::move(action)); }
  bool on_loop_thread() const override { return true; }
  void arm(Timer& timer, MonotonicTime deadline) override { timers_.arm(timer, deadline); }
  const Clock& clock() const override { return clock_; }
  Random& random() override { return random_; }
  ManualClock& manual_clock() { return clock_; }

  // Runs everything posted and due until nothing is left to do at the current time.
  void run_until_idle() {
    do {
      while (!posted_.empty()) {
        auto action = std::move(posted_.front());
        posted_.pop_front();
        action();
      }
    } while (timers_.run_due(clock_.monotonic()) > 0 || !posted_.empty());
  }
  // Moves time forward timer by timer, running what becomes due.
  void advance(Duration by) {
    const auto target = clock_.monotonic() + by;
    run_until_idle();
    while (auto next = timers_.next_deadline()) {
      if (*next > target) break;
      if (*next > clock_.monotonic()) clock_.advance(*next - clock_.monotonic());
      run_until_idle();
    }
    if (target > clock_.monotonic()) clock_.advance(target - clock_.monotonic());
    run_until_idle();
  }
  // Runs a task to its end, advancing time while it waits for timers only; fails the check if it can never end.
  template <typename T>
  T run(Task<T> task);

  std::size_t armed_timers() const { return timers_.size(); }

 private:
  struct Detached {
    struct promise_type {
      Detached get_return_object() noexcept { return {}; }
      std::suspend_never initial_suspend() noexcept { return {}; }
      std::suspend_never final_suspend() noexcept { return {}; }
      void return_void() noexcept {}
      [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
    };
  };
  template <typename T, typename Slot>
  static Detached drive(Task<T> task, Slot& slot) {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(task);
      slot = true;
    } else {
      auto value = co_await std::move(task);
      slot.emplace(std::move(value));
    }
  }
  template <typename Slot>
  void pump_until(Slot& slot) {
    for (;;) {
      run_until_idle();
      if (slot) return;
      auto next = timers_.next_deadline();
      WEFT_CHECK(next.has_value() && "the task waits for something that never comes");
      if (*next > clock_.monotonic()) clock_.advance(*next - clock_.monotonic());
    }
  }

  ManualClock clock_;
  SeededRandom random_;
  std::deque<std::function<void()>> posted_;
  TimerQueue timers_;
};

template <typename T>
T ManualLoop::run(Task<T> task) {
  if constexpr (std::is_void_v<T>) {
    bool done = false;
    drive(std::move(task), done);
    pump_until(done);
  } else {
    std::optional<T> value;
    drive(std::move(task), value);
    pump_until(value);
    return std::move(*value);
  }
}

}  // namespace weft
