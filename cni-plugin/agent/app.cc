#include "cni-plugin/agent/app.h"

#include "cni-plugin/agent/status_page.h"
#include "lib/base/log.h"

namespace weft::cni::agent {
namespace {

constexpr const char* kTarget = "agent";
// The folder keeps strangers out; only root runs CNI plugins.
constexpr unsigned kRunDirMode = 0750;
constexpr unsigned kPluginSocketMode = 0600;

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

Membership membership_of(const Settings& settings) {
  return {settings.node_name, settings.enablement, settings.excluded_namespaces, settings.system_namespace,
          settings.pod_namespace};
}

}  // namespace

App::App(Platform platform, Settings settings)
    : platform_(std::move(platform)),
      settings_(std::move(settings)),
      memory_(platform_.files, settings_.run_dir + "/enrolled.json"),
      reconciler_(platform_.loop, platform_.packets, platform_.pod_network, memory_, metrics_),
      source_(platform_.files, settings_.manifest_dir, membership_of(settings_),
              [this](const PodSet& pods) { reconciler_.update(pods); }),
      server_(platform_.loop, source_, platform_.pod_network, reconciler_, metrics_, platform_.host) {
  metrics_.registry.before_text(
      [this] { metrics_.unreadable_files.set(static_cast<double>(source_.counters().unreadable)); });
}

Result<void> App::start() {
  WEFT_TRY_VOID(platform_.files.make_directory(settings_.run_dir, kRunDirMode));
  WEFT_TRY_VOID(platform_.files.make_directory(parent_of(settings_.zds_path), kRunDirMode));
  if (auto loaded = memory_.load(); !loaded) {
    WEFT_LOG(kError, kTarget, "what an earlier agent enrolled is not known", {"error", loaded.error().message()});
  }
  WEFT_TRY_VOID(reconciler_.listen(settings_.zds_path));
  WEFT_TRY(events_, platform_.listen_unix(settings_.run_dir + "/pluginevent.sock", kPluginSocketMode));
  WEFT_TRY(log_, platform_.listen_unix(settings_.run_dir + "/log.sock", kPluginSocketMode));
  WEFT_TRY(probes_, listen_on(settings_.readiness_port));
  if (settings_.monitoring_port != 0) {
    WEFT_TRY(numbers_, listen_on(settings_.monitoring_port));
  }
  if (settings_.admin_port != 0) {
    WEFT_TRY(admin_, listen_on_loopback(settings_.admin_port));
  }
  // Last, because pods are worked on from here; who connected meanwhile waits for run().
  WEFT_TRY_VOID(source_.start());
  WEFT_LOG(kInfo, kTarget, "started", {"node", settings_.node_name}, {"pods", fmt::to_string(source_.pods().pods.size())},
           {"manifests", settings_.manifest_dir}, {"ztunnel", settings_.zds_path});
  return {};
}

// Probes and Prometheus come to the pod's address, as upstream's.
Result<io::ListenerPtr> App::listen_on(std::uint16_t port) {
  auto both = platform_.network.listen(SocketAddress(IpAddress::any(true), port), {});
  if (both || both.error().code() == ErrorCode::kAddressInUse) return both;
  return platform_.network.listen(SocketAddress(IpAddress::any(false), port), {});
}

Result<io::ListenerPtr> App::listen_on_loopback(std::uint16_t port) {
  auto four = platform_.network.listen(SocketAddress(IpAddress::loopback(false), port), {});
  if (four || four.error().code() == ErrorCode::kAddressInUse) return four;
  return platform_.network.listen(SocketAddress(IpAddress::loopback(true), port), {});
}

Task<admin::Response> App::admin_request(admin::Request request) {
  if (request.path != "/status") co_return admin::Response{.status = 404, .body = "no such page\n"};
  if (request.method != "GET" && request.method != "HEAD") co_return admin::Response{.status = 405, .body = "GET only\n"};
  const StatusContents contents{settings_.node_name, settings_.manifest_dir,     source_.pods(),
                                reconciler_.pods(),  reconciler_.newest_proxy(), source_.counters()};
  co_return admin::Response{.body = status_page(contents), .content_type = "application/json"};
}

Task<void> App::run(StopToken stop) {
  Scope scope(platform_.loop, stop);
  Loop& loop = platform_.loop;
  const admin::Handler plugin = [this](admin::Request request, StopToken until) {
    return server_.plugin_request(std::move(request), until);
  };
  const admin::Handler lines = [this](admin::Request request, StopToken until) {
    return server_.log_request(std::move(request), until);
  };
  const admin::Handler probe = [this](admin::Request request, StopToken until) {
    return server_.probe_request(std::move(request), until);
  };
  const admin::Handler numbers = [this](admin::Request request, StopToken until) {
    return server_.metrics_request(std::move(request), until);
  };
  const admin::Handler status = [this](admin::Request request, StopToken) { return admin_request(std::move(request)); };
  const auto options = [this](const char* name) {
    admin::ServerOptions made;
    made.name = name;
    made.refused = &metrics_.refused_requests;
    return made;
  };
  scope.spawn(admin::serve(loop, std::move(events_), plugin, options("plugin"), scope.token()));
  scope.spawn(admin::serve(loop, std::move(log_), lines, options("plugin-log"), scope.token()));
  scope.spawn(admin::serve(loop, std::move(probes_), probe, options("probes"), scope.token()));
  if (numbers_) scope.spawn(admin::serve(loop, std::move(numbers_), numbers, options("metrics"), scope.token()));
  if (admin_) scope.spawn(admin::serve(loop, std::move(admin_), status, options("admin"), scope.token()));
  server_.set_ready(true);
  co_await reconciler_.run(stop);
  server_.set_ready(false);
  co_await scope.join();
  if (!settings_.clean_at_stop) co_return;
  auto removed = co_await platform_.pod_network.exempt_no_probes();
  if (!removed) WEFT_LOG(kError, kTarget, "rules of the node stay", {"error", removed.error().message()});
}

}  // namespace weft::cni::agent
