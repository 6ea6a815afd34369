// The control thread's loop, on Boost.Asio's epoll reactor; also the engine for hosts that refuse io_uring.
//
// Thread: run() is called on one thread, which then is the loop's; post_from_any_thread() and stop() may come from others.
// Must outlive everything made on it.
#pragma once

#include <memory>
#include <thread>

#include "lib/async/loop.h"
#include "lib/async/timer_queue.h"

namespace weft::asio {

class Loop final : public weft::Loop {
 public:
  // Without a clock or seed of its own it uses the kernel's.
  Loop();
  ~Loop() override;

  // Runs until stop(). May be called again afterwards; what was posted meanwhile runs then.
  void run();
  // Makes run() return after the current action. From any thread; sticks if run() has not begun.
  void stop();

  void post(std::function<void()> action) override;
  void post_from_any_thread(std::function<void()> action) override;
  bool on_loop_thread() const override { return std::this_thread::get_id() == thread_; }
  void arm(Timer& timer, MonotonicTime deadline) override;
  const Clock& clock() const override { return clock_; }
  Random& random() override { return random_; }

  // Boost's side of it, for this folder only (detail/context.h).
  struct Context;
  Context& context() { return *context_; }

 private:
  void schedule_timers();

  SystemClock clock_;
  SeededRandom random_;
  TimerQueue timers_;
  std::thread::id thread_;
  std::unique_ptr<Context> context_;
};

}  // namespace weft::asio
