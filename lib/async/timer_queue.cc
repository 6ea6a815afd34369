#include "lib/async/timer_queue.h"

namespace weft {

void Timer::cancel() {
  if (queue_) queue_->remove(*this);
}

TimerQueue::~TimerQueue() {
  for (auto* timer : heap_) timer->queue_ = nullptr;
}

void TimerQueue::arm(Timer& timer, MonotonicTime deadline) {
  timer.cancel();
  timer.queue_ = this;
  timer.deadline_ = deadline;
  timer.order_ = next_order_++;
  heap_.push_back(&timer);
  timer.index_ = heap_.size() - 1;
  sift_up(timer.index_);
}

void TimerQueue::remove(Timer& timer) {
  const auto index = timer.index_;
  timer.queue_ = nullptr;
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == &timer) return;
  place(index, last);
  sift_up(index);
  sift_down(last->index_);
}

std::optional<MonotonicTime> TimerQueue::next_deadline() const {
  if (heap_.empty()) return std::nullopt;
  return heap_.front()->deadline_;
}

std::size_t TimerQueue::run_due(MonotonicTime now) {
  // Timers armed by an action run in a later call, even when already due: a loop must not spin here.
  const auto limit = next_order_;
  std::size_t ran = 0;
  while (!heap_.empty() && heap_.front()->deadline_ <= now && heap_.front()->order_ < limit) {
    Timer* timer = heap_.front();
    remove(*timer);
    ++ran;
    auto action = timer->action_;  // the action may destroy its timer
    action();
  }
  return ran;
}

bool TimerQueue::before(const Timer* a, const Timer* b) const {
  return a->deadline_ != b->deadline_ ? a->deadline_ < b->deadline_ : a->order_ < b->order_;
}

void TimerQueue::place(std::size_t index, Timer* timer) {
  heap_[index] = timer;
  timer->index_ = index;
}

void TimerQueue::sift_up(std::size_t index) {
  Timer* timer = heap_[index];
  while (index > 0) {
    const auto parent = (index - 1) / 2;
    if (!before(timer, heap_[parent])) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, timer);
}

void TimerQueue::sift_down(std::size_t index) {
  Timer* timer = heap_[index];
  for (;;) {
    auto child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && before(heap_[child + 1], heap_[child])) ++child;
    if (!before(heap_[child], timer)) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, timer);
}

}  // namespace weft
