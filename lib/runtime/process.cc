#include "lib/runtime/process.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "lib/base/log.h"
#include "lib/linux/limits.h"

namespace weft::runtime {
namespace {

// The memory holds private keys and other pods' data: neither belongs into a file, nor into another process of the same
// user. The limit alone does not count where a program takes the dumps (core(5)); a process that is not "dumpable" makes
// none, and only who has CAP_SYS_PTRACE may trace it.
void forbid_core_dumps() {
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0 || ::prctl(PR_SET_DUMPABLE, 0) != 0)
    WEFT_LOG(kWarn, "process", "core dumps not forbidden", {"error", Error::from_errno(errno, "prctl").message()});
}

}  // namespace

void prepare_process() {
  std::signal(SIGPIPE, SIG_IGN);
  forbid_core_dumps();
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
