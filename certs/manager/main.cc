// weft-certs: the mesh's certificate authority.
#include "certs/manager/app.h"
#include "lib/asio/files.h"
#include "lib/asio/network.h"
#include "lib/base/log.h"
#include "lib/runtime/process.h"

using namespace weft;
using namespace weft::certs::manager;

namespace {

// Serves until the first SIGTERM or SIGINT; a SIGINT after that ends the program at once.
Task<void> serve(asio::Loop& loop, App& app, runtime::ShutdownSignals& signals) {
  Scope scope(loop);
  StopSource stop, drained;
  scope.spawn(app.run(stop.token()));
  auto signal = co_await signals.wait({});
  WEFT_LOG(kInfo, "ca", "shutting down", {"signal", signal ? *signal : signal.error().message()});
  Scope impatience(loop);
  impatience.spawn(signals.exit_on_interrupt(drained.token()));
  stop.request_stop();
  co_await scope.join();
  drained.request_stop();
  co_await impatience.join();
  loop.stop();
}

}  // namespace

int main(int argc, char** argv) {
  auto settings = read_settings(argc, argv);
  if (!settings) return settings.error();
  log::init(settings->log_json ? log::Format::kJson : log::Format::kPlain, settings->log_filter);
  runtime::prepare_process(
      {.capabilities = linux::capabilities_to_listen({settings->listen.port(), settings->status_port}), .calls = {}});

  asio::Loop loop;
  asio::KernelFiles files(loop);
  asio::Networks networks(loop);
  const auto network = networks.own();
  runtime::ShutdownSignals signals(loop);
  App app(loop, *network, files, std::move(*settings));
  auto started = app.start();
  if (!started) {
    WEFT_LOG(kError, "ca", "cannot start", {"error", started.error().message()});
    return runtime::leave(runtime::kExitFailure);
  }
  {
    Scope scope(loop);
    scope.spawn(serve(loop, app, signals));
    loop.run();
  }
  WEFT_LOG(kInfo, "ca", "stopped");
  return runtime::leave(runtime::kExitOk);
}
