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
 private:
  class Watcher;

 public:
  using Value = std::shared_ptr<const T>;

  // Moved, not copied. An empty one watches nothing.
  class Watch {
   public:
    Watch() = default;
    Watch(Watch&& other) noexcept = default;
    Watch& operator=(Watch&& other) noexcept {
      std::swap(watcher_, other.watcher_);  // `other` ends what was watched
      return *this;
    }
    ~Watch() {
      if (watcher_) watcher_->end();
    }

   private:
    friend class Published;
    explicit Watch(std::shared_ptr<Watcher> watcher) : watcher_(std::move(watcher)) {}
    std::shared_ptr<Watcher> watcher_;
  };

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
    for (auto& watcher : watchers) watcher->tell(watcher, value);
  }

  // The action runs on `loop` for each value published after this call, until the returned handle is destroyed (on the
  // same loop's thread): never after that, also when a value is being published at that moment. What the action holds
  // may be destroyed by the publisher's thread. The loop must outlive the handle.
  [[nodiscard]] Watch watch(Loop& loop, std::function<void(const Value&)> action) {
    auto watcher = std::make_shared<Watcher>(loop, std::move(action));
    std::lock_guard lock(mutex_);
    watchers_.push_back(watcher);
    return Watch(std::move(watcher));
  }

 private:
  // A publisher, or a closure in the loop's mailbox, may hold it longer than its handle lives.
  class Watcher {
   public:
    Watcher(Loop& loop, std::function<void(const Value&)> action) : loop_(&loop), action_(std::move(action)) {}

    // Publisher. Holds the loop for as long as it posts: the handle's owner may destroy the loop after end().
    void tell(const std::shared_ptr<Watcher>& self, const Value& value) {
      std::lock_guard lock(mutex_);
      if (!loop_) return;
      loop_->post_from_any_thread([self, value] {
        if (!self->ended()) self->action_(value);
      });
    }
    // The loop's thread, as the closure above.
    void end() {
      std::lock_guard lock(mutex_);
      loop_ = nullptr;
    }

   private:
    bool ended() {
      std::lock_guard lock(mutex_);
      return loop_ == nullptr;
    }
    std::mutex mutex_;
    Loop* loop_;  // null when the handle is gone
    const std::function<void(const Value&)> action_;
  };

  mutable std::mutex mutex_;
  Value value_;
  std::vector<std::weak_ptr<Watcher>> watchers_;
};

}  // namespace weft
