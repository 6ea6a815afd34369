// What an engine offers to tasks: one thread's event loop with posting, time and timers.
//
// Implemented by lib/uring (workers), lib/asio (control thread) and tests/support (seeded simulation). Everything runs on
// the loop's thread except post_from_any_thread(). Coroutines are resumed from the loop, never from inside a completion of
// another coroutine unless a header says so.
#pragma once

#include <coroutine>
#include <functional>

#include "lib/async/stop.h"
#include "lib/async/task.h"
#include "lib/base/clock.h"
#include "lib/base/intrusive_list.h"
#include "lib/base/random.h"
#include "lib/base/result.h"

namespace weft {

// A one-shot timer owned by its user; destroying it cancels it. Engines keep armed timers in a TimerQueue (timer_queue.h).
class Timer {
 public:
  explicit Timer(std::function<void()> action) : action_(std::move(action)) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { cancel(); }

  bool armed() const { return queue_ != nullptr; }
  void cancel();

 private:
  friend class TimerQueue;
  std::function<void()> action_;
  class TimerQueue* queue_ = nullptr;
  std::size_t index_ = 0;
  MonotonicTime deadline_{};
  std::uint64_t order_ = 0;
};

class Loop {
 public:
  virtual ~Loop() = default;

  // Runs `action` in a later turn of this loop, in posting order. On the loop's thread only.
  virtual void post(std::function<void()> action) = 0;
  // The same from any thread; wakes the loop. The loop must outlive the call.
  virtual void post_from_any_thread(std::function<void()> action) = 0;
  // True on the thread that runs this loop.
  virtual bool on_loop_thread() const = 0;

  // Arms `timer` to run its action at or after `deadline`; an armed timer is re-armed.
  virtual void arm(Timer& timer, MonotonicTime deadline) = 0;

  virtual const Clock& clock() const = 0;
  // This loop's own source of chance.
  virtual Random& random() = 0;
  // Now, as of the start of this turn or later: cheap.
  virtual MonotonicTime now() const { return clock().monotonic(); }
};

// Suspends for `duration`; kCancelled if `stop` fires first.
Task<Result<void>> sleep_for(Loop& loop, Duration duration, StopToken stop);
// Suspends until a later turn of the loop, so that others run in between.
Task<void> yield_to(Loop& loop);

// Bounds a piece of work in time: its token fires when the deadline passes or when the parent's does.
//   Deadline deadline(loop, 10s, stop);
//   auto socket = co_await network.connect(address, options, deadline.token());
//   if (!socket) co_return fail(deadline.explain(std::move(socket).error(), "connect"));
class Deadline {
 public:
  Deadline(Loop& loop, Duration limit, const StopToken& parent);
  StopToken token() const { return source_.token(); }
  bool expired() const { return expired_; }
  // Turns the kCancelled of an expired deadline into kTimeout "<what> timed out after 10s"; other errors pass through.
  Error explain(Error error, std::string_view what) const;

 private:
  StopSource source_;
  bool expired_ = false;
  Duration limit_;
  Timer timer_;
  StopCallback on_parent_;
};

}  // namespace weft
