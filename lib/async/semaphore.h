// Permits shared by tasks of one thread; waiters are served in order of arrival as permits return.
#pragma once

#include <utility>

#include "lib/async/event.h"

namespace weft {

class Semaphore {
 public:
  Semaphore(Loop& loop, std::size_t permits) : available_(permits), changed_(loop) {}

  // Returns its permit when destroyed.
  class Permit {
   public:
    Permit() = default;
    explicit Permit(Semaphore* owner) : owner_(owner) {}
    Permit(Permit&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    Permit& operator=(Permit&& other) noexcept {
      std::swap(owner_, other.owner_);
      return *this;
    }
    ~Permit() {
      if (owner_) owner_->give_back();
    }

   private:
    Semaphore* owner_ = nullptr;
  };

  Task<Result<Permit>> acquire(StopToken stop) {
    while (available_ == 0) {
      changed_.reset();
      auto woken = co_await changed_.wait(stop);
      if (!woken) co_return fail(std::move(woken).error());
    }
    --available_;
    co_return Permit(this);
  }
  std::size_t available() const { return available_; }

 private:
  void give_back() {
    ++available_;
    changed_.set();
  }

  std::size_t available_;
  Event changed_;
};

}  // namespace weft
