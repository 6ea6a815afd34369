#include "lib/async/scope.h"

namespace weft {

// The detached outermost frame of a spawned task; it destroys itself at its end.
struct Scope::Runner {
  struct promise_type {
    static void* operator new(std::size_t size) { return allocate_frame(size); }
    static void operator delete(void* memory, std::size_t size) { free_frame(memory, size); }
    Runner get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
  };
};

Scope::Scope(Loop& loop, const StopToken& parent)
    : loop_(loop), on_parent_(parent, [this] { request_stop(); }), idle_(loop) {
  idle_.set();
}

Scope::~Scope() { WEFT_CHECK(running_ == 0); }

Scope::Runner Scope::run(Scope& scope, Task<void> task) {
  {
    Task<void> owned = std::move(task);
    co_await std::move(owned);
  }  // the task's frame, and with it all it owned, is gone before the scope hears of its end
  if (--scope.running_ == 0) scope.idle_.set();
}

void Scope::spawn(Task<void> task) {
  ++running_;
  idle_.reset();
  run(*this, std::move(task));
}

Task<void> Scope::join() {
  while (running_ > 0) {
    auto ignored = co_await idle_.wait();
    (void)ignored;
  }
}

}  // namespace weft
