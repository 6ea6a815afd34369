// The pages of the process: readiness, statistics, admin.
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

#include "lib/admin/metrics_page.h"
#include "lib/base/log.h"
#include "lib/linux/features.h"
#include "ztunnel/app.h"
#include "ztunnel/build_info.h"
#include "ztunnel/dump/config_dump.h"
#include "ztunnel/dump/status.h"
#include "ztunnel/explain_page.h"
#include "ztunnel/logging_page.h"

namespace weft::ztunnel {
namespace {

constexpr const char* kIndex =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head><meta charset=\"utf-8\"><title>ztunnel</title></head>\n"
    "<body>\n"
    "<h1>ztunnel</h1>\n"
    "<table>\n"
    "<tr><td><a href=\"config_dump\">config_dump</a></td><td>GET: mesh, settings, certificates, pods and "
    "connections</td></tr>\n"
    "<tr><td><a href=\"status\">status</a></td><td>GET: how this proxy is, in short</td></tr>\n"
    "<tr><td>explain</td><td>POST: who would be let in and why, a JSON question a line</td></tr>\n"
    "<tr><td>logging</td><td>POST: show or change the log level, ?level=L and ?reset</td></tr>\n"
    "<tr><td>quitquitquit</td><td>POST: drain and end</td></tr>\n"
    "</table>\n"
    "</body>\n"
    "</html>\n";

bool loopback_has_ipv6() {
  std::ifstream file("/proc/sys/net/ipv6/conf/lo/disable_ipv6");
  std::string value;
  return !(file >> value) || value != "1";
}

admin::Response not_found() { return {.status = 404}; }

}  // namespace

Result<void> App::serve(const IpAddress& ip, std::uint16_t port, const char* name, admin::Handler handler) {
  const SocketAddress address(ip, port);
  auto listener = around_.network.listen(address, {});
  if (!listener) return fail(std::move(listener).error().within("failed to bind to address " + address.to_string()));
  WEFT_LOG(kInfo, "app", "listener established", {"address", (*listener)->address().to_string(), log::FieldKind::kDisplay},
           {"component", name});
  admin::ServerOptions options;
  options.name = name;
  options.body_max = explain::kBatchMax;
  options.refused = &refused_requests_;
  server_scope_.spawn(
      admin::serve(loop_, std::move(*listener), std::move(handler), std::move(options), server_scope_.token()));
  return {};
}

Result<void> App::serve_wildcard(std::uint16_t port, const char* name, admin::Handler handler) {
  return serve(IpAddress::any(settings_.ipv6_enabled && linux::has_ipv6()), port, name, std::move(handler));
}

Result<void> App::serve_admin() {
  describe_process();
  WEFT_TRY_VOID(serve_wildcard(settings_.stats_port, "stats",
                               [this](admin::Request request, StopToken) { return answer_stats(std::move(request)); }));
  auto handler = [this](admin::Request request, StopToken stop) {
    return answer_admin(std::move(request), std::move(stop));
  };
  WEFT_TRY_VOID(serve(IpAddress::loopback(false), settings_.admin_port, "admin", handler));
  if (settings_.ipv6_enabled && linux::has_ipv6() && loopback_has_ipv6())
    return serve(IpAddress::loopback(true), settings_.admin_port, "admin", handler);
  return {};
}

void App::describe_process() {
  registry_.gauges("istio_build", "Istio component build info")
      .with({{"component", "ztunnel"}, {"tag", settings_.istio_version.empty() ? "unknown" : settings_.istio_version}})
      .set(1);
  auto& open = registry_.gauges("process_open_fds", "Number of open file descriptors").with();
  auto& limit = registry_.gauges("process_max_fds", "Maximum number of open file descriptors").with();
  auto& life = registry_.gauges("weft_certificate_shortest_life_seconds",
                                "Remaining life of the certificate that expires first; negative: it has expired (unstable)",
                                "seconds");
  auto& dropped =
      registry_.counters("weft_log_lines_dropped", "Log lines lost to a slow reader of standard output (unstable)").with();
  registry_.before_text([this, &open, &limit, &life, &dropped] {
    dropped.add(log::dropped_lines() - dropped.value());
    std::error_code error;
    double count = 0;
    for (auto it = std::filesystem::directory_iterator("/proc/self/fd", error);
         !error && it != std::filesystem::directory_iterator(); it.increment(error))
      ++count;
    open.set(count);
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0) limit.set(static_cast<double>(files.rlim_cur));
    if (auto shortest = secrets_->shortest_life()) life.with().set(std::chrono::duration<double>(*shortest).count());
  });
}

Task<admin::Response> App::answer_stats(admin::Request request) {
  if (request.path != "/metrics" && request.path != "/stats/prometheus") co_return not_found();
  co_return admin::metrics_page(registry_, request);
}

Task<admin::Response> App::answer_admin(admin::Request request, StopToken stop) {
  if (request.path == "/quitquitquit") {
    if (request.method != "POST") co_return admin::Response{.status = 405};
    end_asked_.set();
    co_return admin::Response{.body = "shutdown now\n"};
  }
  if (request.path == "/config_dump") {
    auto page = co_await dump_config(std::move(stop));
    co_return page;
  }
  if (request.path == "/status") {
    auto page = co_await show_status(std::move(stop));
    co_return page;
  }
  if (request.path == "/explain") {
    auto facts = mesh_->facts();
    auto page = co_await answer_explain(loop_, std::move(facts), std::move(request), std::move(stop));
    co_return page;
  }
  if (request.path == "/logging") co_return answer_logging(request, start_filter_);
  if (request.path == "/") co_return admin::Response{.body = kIndex, .content_type = "text/html; charset=utf-8"};
  co_return not_found();
}

Task<admin::Response> App::dump_config(StopToken stop) {
  auto permit = co_await dumping_.acquire(stop);
  if (!permit) co_return admin::Response{.status = 503, .body = permit.error().message() + "\n"};
  std::optional<std::vector<PodState>> pods;
  if (pods_) {
    auto described = co_await pods_->describe(std::move(stop));
    if (!described) co_return admin::Response{.status = 503, .body = described.error().message() + "\n"};
    pods = std::move(*described);
  }
  dump::Contents contents{mesh_->published().current(), mesh_->local_config(), build_info(settings_.istio_version),
                          secrets_->entries(), std::move(pods)};
  auto text = co_await dump::config_dump(loop_, settings_, std::move(contents));
  co_return admin::Response{.body = std::move(text), .content_type = "application/json"};
}

Task<admin::Response> App::show_status(StopToken stop) {
  std::vector<PodState> pods;
  if (pods_) {
    auto described = co_await pods_->describe(std::move(stop));
    if (!described) co_return admin::Response{.status = 503, .body = described.error().message() + "\n"};
    pods = std::move(*described);
  }
  const dump::StatusContents contents{build_info(settings_.istio_version),
                                      around_.engine,
                                      mesh_->published().current(),
                                      mesh_->manifests(),
                                      mesh_->counters(),
                                      readiness_.pending(),
                                      secrets_->entries(),
                                      std::move(pods),
                                      loop_.clock().wall()};
  co_return admin::Response{.body = dump::status(settings_, contents), .content_type = "application/json"};
}

}  // namespace weft::ztunnel
