// What every long-running program of ours does around its own work: limits, signals, exit codes.
#pragma once

#include <string>

#include "lib/asio/loop.h"
#include "lib/asio/signals.h"
#include "lib/async/stop.h"
#include "lib/async/task.h"
#include "lib/linux/capabilities.h"
#include "lib/linux/system_calls.h"

namespace weft::runtime {

// What main() returns. 64 is sysexits(3)'s EX_USAGE.
enum ExitCode { kExitOk = 0, kExitFailure = 1, kExitUsage = 64 };

// What a program goes on needing of what it was started with.
struct Needs {
  linux::Capabilities capabilities;
  linux::CallsInUse calls;
};

// Ignores SIGPIPE, raises the descriptor limit to its maximum, forbids core dumps, and gives up for good what `needs` does
// not name. Nothing of it missing keeps a program from starting: a line at the end says what is in force. To be called
// before other threads start, so before the first log line: a thread that runs already would keep its capabilities.
void prepare_process(const Needs& needs);

// The last act of main(): the log is written out, and `code` returned. When nobody reads the log any more the process ends
// right here with that code.
int leave(int code);

// SIGTERM and SIGINT as a request to end.
class ShutdownSignals {
 public:
  explicit ShutdownSignals(asio::Loop& loop);

  // Waits for the first signal and returns its name, "SIGTERM" or "SIGINT". kCancelled when stopped.
  Task<Result<std::string>> wait(StopToken stop);
  // To run while the program drains: a SIGINT now ends the process at once with code 0; SIGTERM is one request like the
  // first. Returns when stopped.
  Task<void> exit_on_interrupt(StopToken stop);

 private:
  asio::Signals signals_;
};

}  // namespace weft::runtime
