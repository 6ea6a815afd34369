// One immutable value published by one thread and read by many: configuration snapshots, credentials.
//
// publish() and current() may be called from any thread. Watchers run on their own loop's thread, once per change or less
// (a watcher that is behind sees only the latest value).
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "lib/async/loop.h"

namespace weft {

template <typename T>
class Published {
 public:
  using Value = std::shared_ptr<const T>;

  explicit Published(Value initial = nullptr) : value_(std::move(initial)) {}

  Value current() const {
    std::lock_guard lock(mutex_);
    return value_;
  }

  void publish(Value value) {
    std::vector<std::shared_ptr<Watcher>> watchers;
    {
      std::lock_guard lock(mutex_);
      value_ = value;
      for (auto& weak : watchers_) {
        if (auto watcher = weak.lock()) watchers.push_back(std::move(watcher));
      }
      watchers_.assign(watchers.begin(), watchers.end());
    }
    for (auto& watcher : watchers) {
      watcher->loop->post_from_any_thread([weak = std::weak_ptr(watcher), value] {
        if (auto alive = weak.lock()) alive->action(value);
      });
    }
  }

  // The action runs on `loop` for each value published after this call, until the returned handle is destroyed (on the
  // same loop's thread). The loop must outlive the handle.
  class Watcher {
   public:
    Loop* loop;
    std::function<void(const Value&)> action;
  };
  std::shared_ptr<Watcher> watch(Loop& loop, std::function<void(const Value&)> action) {
    auto watcher = std::make_shared<Watcher>();
    watcher->loop = &loop;
    watcher->action = std::move(action);
    std::lock_guard lock(mutex_);
    watchers_.push_back(watcher);
    return watcher;
  }

 private:
  mutable std::mutex mutex_;
  Value value_;
  std::vector<std::weak_ptr<Watcher>> watchers_;
};

}  // namespace weft
