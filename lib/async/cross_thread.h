// Running a task on another loop's thread and waiting for its result here.
//
//   auto started = co_await call_on<Result<void>>(control, worker, [&] { return pod.start(); });
//
// `work` is called on `there`; the returned task runs there to its end. The caller cannot stop waiting (what it lent to the
// other thread stays valid), so `work` must end by itself. Both loops must run until then.
#pragma once

#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "lib/async/event.h"

namespace weft {
namespace detail {

template <typename T>
struct RemoteCall {
  RemoteCall(Loop& here_loop, std::function<Task<T>()> work_to_do)
      : here(here_loop), work(std::move(work_to_do)), done(here_loop) {}
  Loop& here;
  std::function<Task<T>()> work;
  std::conditional_t<std::is_void_v<T>, bool, std::optional<std::conditional_t<std::is_void_v<T>, bool, T>>> value{};
  Event done;
};

struct RemoteRunner {
  struct promise_type {
    RemoteRunner get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
  };
};

template <typename T>
RemoteRunner run_remote(RemoteCall<T>& call) {
  {
    Task<T> task = call.work();
    if constexpr (std::is_void_v<T>) {
      co_await std::move(task);
    } else {
      auto value = co_await std::move(task);
      call.value.emplace(std::move(value));
    }
  }  // the task's frame ends on the thread it ran on
  Loop& here = call.here;
  RemoteCall<T>* pointer = &call;
  here.post_from_any_thread([pointer] { pointer->done.set(); });
}

}  // namespace detail

template <typename T>
Task<T> call_on(Loop& here, Loop& there, std::function<Task<T>()> work) {
  detail::RemoteCall<T> call(here, std::move(work));
  detail::RemoteCall<T>* pointer = &call;
  there.post_from_any_thread([pointer] { detail::run_remote(*pointer); });
  auto ended = co_await call.done.wait();
  (void)ended;
  if constexpr (!std::is_void_v<T>) co_return std::move(*call.value);
}

}  // namespace weft
