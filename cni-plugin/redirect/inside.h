// Work inside a network namespace, on a thread of its own: whatever happens there, the caller's thread stays where it is.
#pragma once

#include <sched.h>

#include <cerrno>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

#include "lib/base/fd.h"
#include "lib/base/result.h"

namespace weft::cni::redirect {

// Runs `enter`, which moves the new thread, then `work`. Returns when both have ended. kLimit when there is no thread.
template <typename T, typename Enter, typename Work>
Result<T> on_own_thread(Enter enter, Work work) {
  std::optional<Result<T>> result;
  try {
    std::thread([&] {
      if (auto entered = enter(); !entered) {
        result = std::unexpected(entered.error());
      } else {
        result = work();
      }
    }).join();
  } catch (const std::system_error& problem) {
    return fail(ErrorCode::kLimit, std::string("start a thread: ") + problem.what());
  }
  return std::move(*result);
}

template <typename T, typename Work>
Result<T> inside(const Fd& netns, Work work) {
  const auto enter = [&]() -> Result<void> {
    if (::setns(netns.get(), CLONE_NEWNET) != 0) return fail_errno(errno, "enter a network namespace");
    return {};
  };
  return on_own_thread<T>(enter, work);
}

// Inside a namespace that is empty and goes away afterwards.
template <typename T, typename Work>
Result<T> inside_new(Work work) {
  const auto enter = []() -> Result<void> {
    if (::unshare(CLONE_NEWNET) != 0) return fail_errno(errno, "make a network namespace");
    return {};
  };
  return on_own_thread<T>(enter, work);
}

}  // namespace weft::cni::redirect
