// Task<T>: a lazy coroutine. It starts when awaited, runs on the awaiting thread, and resumes its awaiter when it ends.
//
// A task is owned by exactly one awaiter (or by a Scope, scope.h) and must be awaited at most once. Its frame lives until
// the Task object is destroyed; destroying a task that was started and has not finished is a bug.
//
// Why no symmetric transfer: GCC 12 turns it into recursion without full optimisation, and a loop of a few million awaits
// that complete at once overflows the stack. Here the awaiter starts its child by an ordinary call and looks afterwards
// whether the child already finished; only a child that finished later resumes its awaiter. Stack depth is therefore
// bounded by call nesting, in every build type. Cost: one extra branch per await.
//
// Exceptions do not leave tasks: what can fail returns Result. An escaping exception ends the process.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include "lib/async/frame_allocator.h"
#include "lib/base/check.h"

namespace weft {

template <typename T = void>
class [[nodiscard]] Task;

namespace detail {

struct TaskPromiseBase {
  std::coroutine_handle<> continuation;
  bool starting = false;  // the awaiter's await_suspend is still on the stack
  bool finished = false;

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* memory, std::size_t size) { free_frame(memory, size); }

  std::suspend_always initial_suspend() noexcept { return {}; }
  [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }

  struct FinalAwaiter {
    bool await_ready() noexcept { return false; }
    template <typename Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) noexcept {
      TaskPromiseBase& promise = handle.promise();
      promise.finished = true;
      // The continuation may destroy this frame; nothing of it is touched afterwards.
      if (!promise.starting && promise.continuation) promise.continuation.resume();
    }
    void await_resume() noexcept {}
  };
  FinalAwaiter final_suspend() noexcept { return {}; }
};

template <typename T>
struct TaskPromise final : TaskPromiseBase {
  std::optional<T> value;
  Task<T> get_return_object() noexcept;
  template <typename U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
};

template <>
struct TaskPromise<void> final : TaskPromiseBase {
  Task<void> get_return_object() noexcept;
  void return_void() noexcept {}
};

}  // namespace detail

template <typename T>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::TaskPromise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task() = default;
  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  explicit operator bool() const { return static_cast<bool>(handle_); }

  struct Awaiter {
    Handle handle;
    bool await_ready() noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> awaiting) {
      auto& promise = handle.promise();
      promise.continuation = awaiting;
      promise.starting = true;
      handle.resume();
      promise.starting = false;
      return !promise.finished;
    }
    T await_resume() {
      if constexpr (!std::is_void_v<T>) {
        WEFT_CHECK(handle.promise().value.has_value());
        return std::move(*handle.promise().value);
      }
    }
  };
  Awaiter operator co_await() && noexcept {
    WEFT_CHECK(handle_ && !handle_.promise().continuation);
    return Awaiter{handle_};
  }

 private:
  Handle handle_;
};

namespace detail {
template <typename T>
Task<T> TaskPromise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<TaskPromise<T>>::from_promise(*this));
}
inline Task<void> TaskPromise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<TaskPromise<void>>::from_promise(*this));
}
}  // namespace detail

}  // namespace weft
