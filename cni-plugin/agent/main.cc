// weft-agent: enrols the pods of a node. Environment, sockets and metrics are those of Istio's node agent.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <thread>

#include "cni-plugin/agent/app.h"
#include "cni-plugin/agent/kernel_pod_network.h"
#include "cni-plugin/agent/kubelet.h"
#include "lib/asio/files.h"
#include "lib/asio/network.h"
#include "lib/asio/packet_socket.h"
#include "lib/asio/unix_socket.h"
#include "lib/base/log.h"
#include "lib/linux/features.h"
#include "lib/runtime/process.h"

extern char** environ;

using namespace weft;
using namespace weft::cni::agent;
namespace redirect = weft::cni::redirect;

namespace {

constexpr const char* kTarget = "agent";

Environment process_environment() {
  Environment result;
  for (char** entry = environ; *entry; ++entry) {
    if (const char* equals = std::strchr(*entry, '='))
      result.emplace(std::string(static_cast<const char*>(*entry), equals), equals + 1);
  }
  return result;
}

// A thread with a loop, for calls that block.
class BlockingThread {
 public:
  BlockingThread() : thread_([this] { loop_.run(); }) {}
  ~BlockingThread() {
    loop_.stop();
    thread_.join();
  }
  Loop& loop() { return loop_; }

 private:
  asio::Loop loop_;
  std::thread thread_;
};

// In a container the chart mounts the host's /proc and namespaces below /host.
std::string host_root() { return ::access("/host/proc/1/ns/net", F_OK) == 0 ? "/host" : ""; }

NetnsPlaces places_below(const std::string& host) {
  return {host + "/proc", {host + "/run/netns", host + "/var/run/netns"}};
}

// Where health probes of pods begin.
Fd open_node(const std::string& host, bool switch_to_host) {
  const auto path = switch_to_host ? host + "/proc/1/ns/net" : std::string("/proc/self/ns/net");
  Fd node(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!node)
    WEFT_LOG(kError, kTarget, "cannot open the node's network namespace", {"path", path}, {"error", std::strerror(errno)});
  return node;
}

Result<redirect::Backend> choose_backend(const Fd& node, const Settings& settings) {
  WEFT_TRY(const auto choice,
           redirect::choose_backend(
               node, {.nftables = settings.native_nftables, .variant = settings.force_iptables, .ipv6 = settings.ipv6}));
  if (!choice.remark.empty()) WEFT_LOG(kWarn, kTarget, "not the packet rules that were asked for", {"why", choice.remark});
  WEFT_LOG(kInfo, kTarget, "packet rules", {"by", choice.backend.to_string()});
  return choice.backend;
}

redirect::ProbeOptions probe_options(const Settings& settings, const std::string& host, const redirect::Backend& backend) {
  const auto kubelet = find_kubelet_uid(host + "/proc");
  if (!kubelet) WEFT_LOG(kInfo, kTarget, "no kubelet runs here, health probes are taken to come from root");
  return {settings.probes, settings.ipv6, kubelet.value_or(0), backend};
}

// Pods' namespaces: to open them and to look for who holds a socket, whoever the processes belong to (ptrace(2), access mode
// checks; /proc/PID/fd is its owner's), to enter them and to make the one where rules are tried; packet rules, by nft,
// iptables and ip6tables, of which the older ones want raw sockets.
runtime::Needs needs_of(const Settings& settings) {
  return {.capabilities =
              linux::Capabilities{CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW} |
              linux::first_in_force({CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE}) |
              linux::capabilities_to_listen({settings.monitoring_port, settings.admin_port, settings.readiness_port}),
          .calls = {.run_programs = true, .enter_network_namespaces = true, .make_network_namespaces = true}};
}

// Serves until the first SIGTERM or SIGINT; a SIGINT after that ends the program at once.
Task<void> serve(asio::Loop& loop, App& app, runtime::ShutdownSignals& signals) {
  Scope scope(loop);
  StopSource stop, ended;
  scope.spawn(app.run(stop.token()));
  auto signal = co_await signals.wait({});
  WEFT_LOG(kInfo, kTarget, "shutting down", {"signal", signal ? *signal : signal.error().message()});
  Scope impatience(loop);
  impatience.spawn(signals.exit_on_interrupt(ended.token()));
  stop.request_stop();
  co_await scope.join();
  ended.request_stop();
  co_await impatience.join();
  loop.stop();
}

int run(Settings settings) {
  if (auto enter = linux::check_enter_network_namespace(); !enter) {
    WEFT_LOG(kError, kTarget, "may not enter network namespaces; run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN",
             {"error", enter.error().message()});
    return runtime::kExitFailure;
  }
  if (settings.dns_capture) {
    WEFT_LOG(kWarn, kTarget, "dns capture is not available yet, pods go on asking their own resolver");
  }
  asio::Loop loop;
  BlockingThread urgent, background;
  asio::KernelFiles files(loop);
  asio::Networks networks(loop);
  const auto network = networks.own();
  asio::UnixPackets packets(loop);
  const auto host = host_root();
  Fd node = open_node(host, settings.switch_to_host);
  if (!node) return runtime::kExitFailure;
  const auto backend = choose_backend(node, settings);
  if (!backend) {
    WEFT_LOG(kError, kTarget, "no way to make packet rules", {"error", backend.error().message()});
    return runtime::kExitFailure;
  }
  KernelPodNetwork pod_network(loop, urgent.loop(), background.loop(),
                               {.ipv6 = settings.ipv6, .probes = settings.probes, .backend = *backend}, places_below(host),
                               std::move(node), probe_options(settings, host, *backend));
  runtime::ShutdownSignals signals(loop);
  const auto listen_unix = [&loop](const std::string& path, unsigned mode) { return asio::listen_unix(loop, path, mode); };
  App app({loop, *network, packets, files, pod_network, listen_unix, host}, std::move(settings));
  if (auto started = app.start(); !started) {
    WEFT_LOG(kError, kTarget, "cannot start", {"error", started.error().message()});
    return runtime::kExitFailure;
  }
  {
    Scope scope(loop);
    scope.spawn(serve(loop, app, signals));
    loop.run();
  }
  WEFT_LOG(kInfo, kTarget, "stopped");
  return runtime::kExitOk;
}

}  // namespace

int main(int count, char** words) {
  const std::vector<std::string> arguments(words + 1, words + count);
  if (!arguments.empty() && (arguments.front() == "--help" || arguments.front() == "-h")) {
    std::fputs(kHelp, stdout);
    return runtime::kExitOk;
  }
  auto settings = load_settings(process_environment(), arguments);
  if (!settings) {
    std::fprintf(stderr, "weft-agent: %s\n", settings.error().message().c_str());
    return runtime::kExitUsage;
  }
  log::init(settings->log_json ? log::Format::kJson : log::Format::kPlain, settings->log_filter);
  runtime::prepare_process(needs_of(*settings));
  return runtime::leave(run(std::move(*settings)));
}
