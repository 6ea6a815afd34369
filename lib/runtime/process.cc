#include "lib/runtime/process.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>

#include "lib/base/log.h"
#include "lib/linux/limits.h"

namespace weft::runtime {
namespace {

// The memory holds private keys and other pods' data: neither belongs into a file, nor into another process of the same
// user. The limit alone does not count where a program takes the dumps (core(5)); a process that is not "dumpable" makes
// none, and only who has CAP_SYS_PTRACE may trace it.
Result<void> forbid_core_dumps() {
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) return fail_errno(errno, "setrlimit RLIMIT_CORE");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail_errno(errno, "prctl PR_SET_DUMPABLE");
  return {};
}

std::string in_force(const Result<void>& step) { return step ? "yes" : "no, " + step.error().message(); }

}  // namespace

void prepare_process(const Needs& needs) {
  std::signal(SIGPIPE, SIG_IGN);
  const auto dumps = forbid_core_dumps();
  const auto files = linux::raise_open_files_limit();
  const auto for_programs = needs.calls.run_programs ? needs.capabilities : linux::Capabilities{};
  const auto kept = linux::keep_capabilities(needs.capabilities, for_programs);
  const auto code = linux::forbid_new_code();
  const auto calls = linux::refuse_system_calls(needs.calls);
  if (!dumps) WEFT_LOG(kWarn, "process", "core dumps not forbidden", {"error", dumps.error().message()});
  if (!files) WEFT_LOG(kWarn, "process", "open files limit not raised", {"error", files.error().message()});
  if (!kept) WEFT_LOG(kWarn, "process", "capabilities not given up", {"error", kept.error().message()});
  if (!calls) WEFT_LOG(kWarn, "process", "system calls not confined", {"error", calls.error().message()});
  WEFT_LOG(kInfo, "process", "confined", {"capabilities", kept ? kept->to_string() : "all"},
           {"system_calls", in_force(calls)}, {"no_new_code", in_force(code)});
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
