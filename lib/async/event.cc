#include "lib/async/event.h"

#include "lib/base/check.h"

namespace weft {

Event::~Event() { WEFT_CHECK(waiters_.empty()); }

void Event::set() {
  set_ = true;
  while (!waiters_.empty()) {
    auto& waiter = waiters_.pop_front();
    waiter.was_set_ = true;
    waiter.wake();
  }
}

void Event::Waiter::await_suspend(std::coroutine_handle<> handle) {
  handle_ = handle;
  event_.waiters_.push_back(*this);
  on_stop_.emplace(stop_, [this] { wake(); });
}

void Event::Waiter::wake() {
  if (woken_) return;
  woken_ = true;
  unlink();
  // The awaiting frame, and this waiter inside it, live until the posted turn resumes them.
  event_.loop_.post([handle = handle_] { handle.resume(); });
}

Result<void> Event::Waiter::await_resume() {
  on_stop_.reset();
  if (was_set_ || event_.set_) return {};
  return fail(ErrorCode::kCancelled, "stopped while waiting");
}

}  // namespace weft
