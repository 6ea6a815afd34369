#include "lib/runtime/process.h"

#include <csignal>
#include <cstdlib>

#include "lib/base/log.h"
#include "lib/linux/limits.h"

namespace weft::runtime {

void prepare_process() {
  std::signal(SIGPIPE, SIG_IGN);
  auto limit = linux::raise_open_files_limit();
  if (!limit) WEFT_LOG(kWarn, "process", "open files limit not raised", {"error", limit.error().message()});
}

int leave(int code) {
  if (!log::flush()) std::_Exit(code);
  return code;
}

ShutdownSignals::ShutdownSignals(asio::Loop& loop) : signals_(loop, {SIGTERM, SIGINT}) {}

Task<Result<std::string>> ShutdownSignals::wait(StopToken stop) {
  auto signal = co_await signals_.next(stop);
  if (!signal) co_return fail(std::move(signal).error());
  co_return std::string(*signal == SIGTERM ? "SIGTERM" : "SIGINT");
}

Task<void> ShutdownSignals::exit_on_interrupt(StopToken stop) {
  for (;;) {
    auto signal = co_await signals_.next(stop);
    if (!signal) co_return;
    if (*signal != SIGINT) continue;
    log::flush();
    std::_Exit(kExitOk);  // no destructors: the other threads are still at work
  }
}

}  // namespace weft::runtime
