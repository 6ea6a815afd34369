// The pages of the process: readiness, statistics, admin.
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "lib/base/log.h"
#include "lib/linux/features.h"
#include "ztunnel/app.h"

namespace weft::ztunnel {
namespace {

constexpr std::string_view kOpenMetrics = "application/openmetrics-text";

// Whether an Accept field names OpenMetrics, as ztunnel decides it: media types lower-cased, parameters cut off.
bool accepts_open_metrics(std::string_view accept) {
  while (!accept.empty()) {
    const auto item = accept.substr(0, accept.find(','));
    accept.remove_prefix(std::min(accept.size(), item.size() + 1));
    std::string type(item.substr(0, item.find(';')));
    std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) { return std::tolower(c); });
    if (type == kOpenMetrics) return true;
  }
  return false;
}

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
  server_scope_.spawn(admin::serve(loop_, std::move(*listener), std::move(handler), {.name = name}, server_scope_.token()));
  return {};
}

Result<void> App::serve_wildcard(std::uint16_t port, const char* name, admin::Handler handler) {
  return serve(IpAddress::any(settings_.ipv6_enabled && linux::has_ipv6()), port, name, std::move(handler));
}

Result<void> App::serve_admin() {
  describe_process();
  WEFT_TRY_VOID(serve_wildcard(settings_.stats_port, "stats",
                               [this](admin::Request request, StopToken) { return answer_stats(std::move(request)); }));
  auto handler = [this](admin::Request request, StopToken) { return answer_admin(std::move(request)); };
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
                                "Remaining life of the certificate that expires first; negative: it has expired (unstable)", "seconds");
  registry_.before_text([this, &open, &limit, &life] {
    std::error_code error;
    double count = 0;
    for (auto it = std::filesystem::directory_iterator("/proc/self/fd", error); !error && it != std::filesystem::directory_iterator();
         it.increment(error))
      ++count;
    open.set(count);
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0) limit.set(static_cast<double>(files.rlim_cur));
    if (auto shortest = secrets_->shortest_life())
      life.with().set(std::chrono::duration<double>(*shortest).count());
  });
}

Task<admin::Response> App::answer_stats(admin::Request request) {
  if (request.path != "/metrics" && request.path != "/stats/prometheus") co_return not_found();
  const bool open_metrics = accepts_open_metrics(request.accept);
  co_return admin::Response{.body = registry_.text(),
                            .content_type = open_metrics ? "application/openmetrics-text;charset=utf-8;version=1.0.0"
                                                         : "text/plain; charset=utf-8"};
}

Task<admin::Response> App::answer_admin(admin::Request request) {
  if (request.path == "/quitquitquit") {
    if (request.method != "POST") co_return admin::Response{.status = 405};
    end_asked_.set();
    co_return admin::Response{.body = "shutdown now\n"};
  }
  if (request.path == "/") {
    co_return admin::Response{.body = "<!DOCTYPE html>\n<title>ztunnel</title>\n<ul>\n<li>POST /quitquitquit: drain and end</ul>\n",
                              .content_type = "text/html; charset=utf-8"};
  }
  co_return not_found();
}

}  // namespace weft::ztunnel
