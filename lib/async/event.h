// Waiting for something that another task of the same thread announces.
//
// Waiters are resumed through the loop (a posted turn), never inside set(): the announcing code keeps its stack to itself.
#pragma once

#include <coroutine>
#include <optional>

#include "lib/async/loop.h"

namespace weft {

// Sticky: once set, waits return at once until reset().
class Event {
 public:
  explicit Event(Loop& loop) : loop_(loop) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event();

  bool is_set() const { return set_; }
  void set();
  void reset() { set_ = false; }

  class Waiter : public ListLink {
   public:
    Waiter(Event& event, const StopToken& stop) : event_(event), stop_(stop) {}
    bool await_ready() const { return event_.set_ || stop_.stop_requested(); }
    void await_suspend(std::coroutine_handle<> handle);
    // ok when set, kCancelled when stopped first.
    Result<void> await_resume();

   private:
    friend class Event;
    void wake();
    Event& event_;
    StopToken stop_;
    std::optional<StopCallback> on_stop_;
    std::coroutine_handle<> handle_;
    bool woken_ = false;
    bool was_set_ = false;
  };
  // co_await event.wait(stop);
  Waiter wait(const StopToken& stop = {}) { return Waiter(*this, stop); }

 private:
  Loop& loop_;
  bool set_ = false;
  IntrusiveList<Waiter> waiters_;
};

}  // namespace weft
