// Armed timers ordered by deadline (binary heap; equal deadlines run in arming order). Used by every Loop.
#pragma once

#include <optional>
#include <vector>

#include "lib/async/loop.h"

namespace weft {

class TimerQueue {
 public:
  TimerQueue() = default;
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;
  ~TimerQueue();

  void arm(Timer& timer, MonotonicTime deadline);
  void remove(Timer& timer);
  std::optional<MonotonicTime> next_deadline() const;
  // Runs the actions of all timers due at `now`; actions may arm and cancel timers. Returns how many ran.
  std::size_t run_due(MonotonicTime now);
  std::size_t size() const { return heap_.size(); }

 private:
  bool before(const Timer* a, const Timer* b) const;
  void place(std::size_t index, Timer* timer);
  void sift_up(std::size_t index);
  void sift_down(std::size_t index);

  std::vector<Timer*> heap_;
  std::uint64_t next_order_ = 0;
};

}  // namespace weft
