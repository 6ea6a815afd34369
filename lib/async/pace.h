// Costly steps of many tasks, spread over the turns of one loop: one step a turn, one queue after the other.
//
//   Pace pace(loop);                 // one for the loop
//   Pace::Queue queue(pace);         // one for each party that must not push others back
//   co_await queue.turn();           // before each costly step
//
// Between two steps the loop handles everything else that is ready, so that a storm of handshakes adds at most one step's
// time to what others wait for. A party with a thousand waiters gets one step for each step of another.
// Thread: the loop's. Waiters are resumed by the loop, in order of arrival within their queue.
#pragma once

#include <coroutine>

#include "lib/async/loop.h"
#include "lib/base/check.h"
#include "lib/base/intrusive_list.h"

namespace weft {

class Pace {
 public:
  explicit Pace(Loop& loop) : loop_(loop), timer_([this] { step(); }) {}
  Pace(const Pace&) = delete;
  Pace& operator=(const Pace&) = delete;

  class Queue;

  class Waiter : public ListLink {
   public:
    explicit Waiter(Queue& queue) : queue_(queue) {}
    bool await_ready() const { return false; }
    inline void await_suspend(std::coroutine_handle<> handle);
    void await_resume() const {}

   private:
    friend class Pace;
    Queue& queue_;
    std::coroutine_handle<> handle_;
  };

  // Empty when it is destroyed.
  class Queue : public ListLink {
   public:
    explicit Queue(Pace& pace) : pace_(pace) {}
    ~Queue() { WEFT_CHECK(waiters_.empty()); }
    Waiter turn() { return Waiter(*this); }

   private:
    friend class Pace;
    friend class Waiter;
    Pace& pace_;
    IntrusiveList<Waiter> waiters_;
  };

 private:
  void enqueue(Queue& queue, Waiter& waiter) {
    if (queue.waiters_.empty()) queues_.push_back(queue);
    queue.waiters_.push_back(waiter);
    plan();
  }
  // A timer that is due, not a posted action: loops run several rounds of those before they look at their sockets again.
  void plan() {
    if (!timer_.armed()) loop_.arm(timer_, loop_.now());
  }
  void step() {
    if (queues_.empty()) return;
    Queue& queue = queues_.pop_front();
    Waiter& waiter = queue.waiters_.pop_front();
    if (!queue.waiters_.empty()) queues_.push_back(queue);
    if (!queues_.empty()) plan();
    waiter.handle_.resume();
  }

  Loop& loop_;
  IntrusiveList<Queue> queues_;  // those with waiters
  Timer timer_;
};

inline void Pace::Waiter::await_suspend(std::coroutine_handle<> handle) {
  handle_ = handle;
  queue_.pace_.enqueue(queue_, *this);
}

}  // namespace weft
