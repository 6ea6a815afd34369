#include "lib/async/loop.h"

#include "lib/async/event.h"
#include "lib/base/log.h"

namespace weft {

Task<Result<void>> sleep_for(Loop& loop, Duration duration, StopToken stop) {
  Event elapsed(loop);
  Timer timer([&elapsed] { elapsed.set(); });
  loop.arm(timer, loop.now() + duration);
  auto result = co_await elapsed.wait(stop);
  co_return result;
}

Task<void> yield_to(Loop& loop) {
  struct Awaiter {
    Loop& loop;
    bool await_ready() { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      loop.post([handle] { handle.resume(); });
    }
    void await_resume() {}
  };
  Awaiter awaiter{loop};
  co_await awaiter;
}

Deadline::Deadline(Loop& loop, Duration limit, const StopToken& parent)
    : limit_(limit),
      timer_([this] {
        expired_ = true;
        source_.request_stop();
      }),
      on_parent_(parent, [this] { source_.request_stop(); }) {
  loop.arm(timer_, loop.now() + limit);
}

Error Deadline::explain(Error error, std::string_view what) const {
  if (!expired_ || error.code() != ErrorCode::kCancelled) return error;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(limit_).count();
  return Error(
      ErrorCode::kTimeout,
      ms % 1000 ? fmt::format("{} timed out after {}ms", what, ms) : fmt::format("{} timed out after {}s", what, ms / 1000),
      error.side());
}

}  // namespace weft
