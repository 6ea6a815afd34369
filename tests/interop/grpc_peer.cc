// grpc_peer: a gRPC server or client of ours, for tests against another implementation.
#include <cstdio>
#include <cstring>
#include <optional>

#include "lib/async/scope.h"
#include "lib/base/log.h"
#include "lib/runtime/process.h"
#include "tests/interop/peer.h"

using namespace weft;

namespace {

constexpr const char* kUsage =
    "usage: grpc_peer server [CHAIN KEY ROOTS]        prints \"port N\" and serves until SIGTERM\n"
    "       grpc_peer client PORT SCENARIO [ROOTS]    plays a scenario and prints what happened\n";

Task<void> run(asio::Loop& loop, Task<int> work, std::optional<int>& code) {
  auto result = co_await std::move(work);
  code = result;
  loop.stop();
}

Task<void> stop_on_signal(runtime::ShutdownSignals& signals, StopSource stop, StopToken ended) {
  auto signal = co_await signals.wait(ended);
  (void)signal;
  stop.request_stop();
}

}  // namespace

int main(int argc, char** argv) {
  const bool serving = (argc == 2 || argc == 5) && std::strcmp(argv[1], "server") == 0;
  const bool calling = (argc == 4 || argc == 5) && std::strcmp(argv[1], "client") == 0;
  if (!serving && !calling) {
    std::fputs(kUsage, stderr);
    return runtime::kExitUsage;
  }
  log::init(log::Format::kPlain, "warn");  // the answers are on standard output too
  runtime::prepare_process({});
  asio::Loop loop;
  runtime::ShutdownSignals signals(loop);
  StopSource stop, ended;
  std::optional<int> code;
  Scope scope(loop);
  scope.spawn(stop_on_signal(signals, stop, ended.token()));
  interop::TlsFiles files;
  if (serving && argc == 5) files = {argv[2], argv[3], argv[4]};
  if (calling && argc == 5) files.roots = argv[4];
  scope.spawn(
      run(loop, serving ? interop::serve(loop, files, stop.token()) : interop::call(loop, files, argv[2], argv[3]), code));
  if (!code) loop.run();
  ended.request_stop();
  loop.post([&loop] { loop.stop(); });
  while (scope.running() > 0) loop.run();
  return code.value_or(1);
}
