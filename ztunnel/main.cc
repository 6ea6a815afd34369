// ztunnel: the node proxy. Command line, environment and exit codes are those of Istio's ztunnel.
#include <cstdio>
#include <string>

#include "lib/asio/files.h"
#include "lib/asio/loop.h"
#include "lib/asio/network.h"
#include "lib/asio/packet_socket.h"
#include "lib/asio/resolver.h"
#include "lib/base/log.h"
#include "lib/linux/features.h"
#include "lib/linux/limits.h"
#include "lib/runtime/process.h"
#include "lib/runtime/workers.h"
#include "ztunnel/app.h"
#include "ztunnel/build_info.h"
#include "ztunnel/check_config.h"
#include "ztunnel/settings.h"
#include "ztunnel/settings_reference.h"

namespace weft::ztunnel {
namespace {

// A second SIGINT, during the drain, ends the process at once.
Task<void> stop_on_signal(runtime::ShutdownSignals& signals, StopSource& stop, StopToken end) {
  auto signal = co_await signals.wait(end);
  if (!signal) co_return;
  WEFT_LOG(kInfo, "app", "received signal, starting shutdown", {"signal", *signal});
  stop.request_stop();
  co_await signals.exit_on_interrupt(end);
}

constexpr const char* kHelp =
    "Istio Ztunnel (%s)\n"
    "\n"
    "Commands:\n"
    "  proxy (default) - Start the ztunnel proxy\n"
    "  version         - Print the version of ztunnel\n"
    "  help            - Print commands and version of ztunnel\n"
    "  help settings   - Print what can be set in the environment\n"
    "  check-config    - Name everything that is wrong with the settings, and exit 1; start nothing\n";

std::string joined(int count, char** words) {
  std::string text;
  for (int i = 1; i < count; ++i) text += (i > 1 ? " " : "") + std::string(words[i]);
  return text;
}

// Serves until the first SIGTERM or SIGINT, or until the proxy ends by itself.
Task<void> serve(asio::Loop& loop, App& app, runtime::ShutdownSignals& signals, int& exit_code) {
  Scope listening(loop);
  StopSource stop;
  listening.spawn(stop_on_signal(signals, stop, listening.token()));
  auto code = co_await app.run(stop.token());
  exit_code = code;
  listening.request_stop();
  co_await listening.join();
  loop.stop();
}

// Sockets in pods' namespaces, with our mark and the caller's address. CAP_NET_RAW allows the latter two as well, and counts
// only where it is all there is: it also allows to listen in on a namespace.
runtime::Needs needs_of(const Settings& settings) {
  const bool shared = settings.mode == ProxyMode::kShared;
  auto kept = linux::first_in_force({CAP_NET_ADMIN, CAP_NET_RAW});
  if (shared) kept = kept | linux::Capabilities{CAP_SYS_ADMIN};
  return {
      .capabilities = kept | linux::capabilities_to_listen({settings.admin_port, settings.stats_port}),
      .calls = {.enter_network_namespaces = shared, .io_uring = settings.engine.choice != runtime::EngineChoice::kEpoll}};
}

// What the kernel must let us do, found out before anything is opened.
Result<void> check_capabilities(const Settings& settings) {
  const bool shared = settings.mode == ProxyMode::kShared;
  auto allowed = shared ? linux::check_enter_network_namespace() : Result<void>{};
  if (allowed && settings.packet_mark != 0) allowed = linux::check_socket_mark();
  if (!allowed && shared) return fail(std::move(allowed).error().within("failed to start workload proxy manager"));
  return allowed;
}

int start_failed(const Error& error) {
  WEFT_LOG(kError, "app", "failed to start", {"error", error.message()});
  std::fprintf(stderr, "Error: %s\n", error.message().c_str());
  return runtime::kExitFailure;
}

// The calling thread becomes the control thread.
int run_app(Settings settings) {
  if (auto allowed = check_capabilities(settings); !allowed) return start_failed(allowed.error());
  asio::Loop loop;
  asio::Networks networks(loop);
  const auto network = networks.own();
  asio::KernelFiles files(loop);
  asio::Resolver resolver(loop);
  asio::UnixPackets packets(loop);
  runtime::ShutdownSignals signals(loop);
  auto workers = runtime::Workers::start("ztunnel", static_cast<unsigned>(settings.worker_threads), settings.engine);
  if (!workers) return start_failed(workers.error());
  WEFT_LOG(kInfo, "app", "workers started", {"count", fmt::to_string((*workers)->size()), log::FieldKind::kNumber},
           {"engine", (*workers)->description()});
  Surroundings around{loop, *network, files, resolver, packets, {}, (*workers)->description()};
  if (auto limit = linux::raise_open_files_limit()) around.open_files_max = *limit;
  for (std::size_t i = 0; i < (*workers)->size(); ++i)
    around.workers.push_back({(*workers)->loop(i), (*workers)->networks(i)});
  int exit_code = runtime::kExitFailure;
  {
    App app(std::move(settings), std::move(around));
    Scope scope(loop);
    loop.post([&] { scope.spawn(serve(loop, app, signals, exit_code)); });
    loop.run();
  }
  (*workers)->stop();
  return exit_code;
}

int run_check(const std::map<std::string, std::string>& environment) {
  asio::Loop loop;
  asio::KernelFiles files(loop);
  const auto problems = check_config(environment, linux::usable_cpus(), read_mesh_config(), files);
  for (const auto& problem : problems) std::fprintf(stderr, "%s\n", problem.c_str());
  if (problems.empty()) std::printf("configuration is valid\n");
  return problems.empty() ? runtime::kExitOk : runtime::kExitFailure;
}

int run_proxy(const std::map<std::string, std::string>& environment, std::string arguments) {
  auto mesh_config = read_mesh_config();
  if (!mesh_config) {
    std::fprintf(stderr, "Error: %s\n", mesh_config.error().message().c_str());
    return runtime::kExitFailure;
  }
  auto settings = load_settings(environment, linux::usable_cpus(), *mesh_config);
  if (!settings) {
    std::fprintf(stderr, "Error: %s\n", settings.error().message().c_str());
    return runtime::kExitFailure;
  }
  settings->proxy_args = std::move(arguments);
  log::init(settings->log_json ? log::Format::kJson : log::Format::kPlain, settings->log_filter);
  runtime::prepare_process(needs_of(*settings));
  WEFT_LOG(kInfo, "ztunnel", "version",
           {"version", build_info(settings->istio_version).to_string(), log::FieldKind::kDisplay});
  return run_app(std::move(*settings));
}

}  // namespace
}  // namespace weft::ztunnel

int main(int count, char** words) {
  using namespace weft::ztunnel;
  const auto environment = process_environment();
  const auto istio = environment.find("ISTIO_META_ISTIO_VERSION");
  const std::string info = build_info(istio == environment.end() ? "" : istio->second).to_string();
  const std::string command = count > 1 ? words[1] : "proxy";
  if (command == "version") {
    std::printf("%s\n", info.c_str());
    return weft::runtime::kExitOk;
  }
  if (command == "help" && count > 2 && words[2] == std::string_view("settings")) {
    std::fputs(settings_reference().c_str(), stdout);
    return weft::runtime::kExitOk;
  }
  if (command == "check-config") return run_check(environment);
  if (command == "help") {
    std::printf(kHelp, info.c_str());
    return weft::runtime::kExitOk;
  }
  if (command != "proxy") {
    std::fprintf(stderr, "unknown command: %s\n", command.c_str());
    std::fprintf(stderr, kHelp, info.c_str());
    return weft::runtime::kExitFailure;
  }
  return weft::runtime::leave(run_proxy(environment, joined(count, words)));
}
