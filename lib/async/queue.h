// A bounded queue between tasks of one thread. push() waits while full; pop() waits while empty.
#pragma once

#include <deque>
#include <utility>

#include "lib/async/event.h"

namespace weft {

template <typename T>
class Queue {
 public:
  Queue(Loop& loop, std::size_t capacity) : capacity_(capacity), not_empty_(loop), not_full_(loop) { not_full_.set(); }

  std::size_t size() const { return items_.size(); }
  bool closed() const { return closed_; }

  // False when full or closed; never waits.
  bool try_push(T item) {
    if (closed_ || items_.size() >= capacity_) return false;
    put(std::move(item));
    return true;
  }
  // kCancelled when stopped, kClosed when the queue was closed.
  Task<Result<void>> push(T item, StopToken stop) {
    for (;;) {
      if (closed_) co_return fail(ErrorCode::kClosed, "queue closed");
      if (items_.size() < capacity_) break;
      auto room = co_await not_full_.wait(stop);
      if (!room) co_return room;
    }
    put(std::move(item));
    co_return Result<void>{};
  }
  // kClosed once the queue is closed and empty.
  Task<Result<T>> pop(StopToken stop) {
    while (items_.empty()) {
      if (closed_) co_return fail(ErrorCode::kClosed, "queue closed");
      auto ready = co_await not_empty_.wait(stop);
      if (!ready) co_return fail(std::move(ready).error());
    }
    T item = std::move(items_.front());
    items_.pop_front();
    if (items_.empty() && !closed_) not_empty_.reset();
    not_full_.set();
    co_return std::move(item);
  }
  // Items already queued can still be popped.
  void close() {
    closed_ = true;
    not_empty_.set();
    not_full_.set();
  }

 private:
  void put(T item) {
    items_.push_back(std::move(item));
    not_empty_.set();
    if (items_.size() >= capacity_) not_full_.reset();
  }

  std::size_t capacity_;
  std::deque<T> items_;
  bool closed_ = false;
  Event not_empty_;
  Event not_full_;
};

}  // namespace weft
