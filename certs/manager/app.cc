#include "certs/manager/app.h"

#include "lib/admin/metrics_page.h"
#include "lib/base/log.h"

namespace weft::certs::manager {
namespace {

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }
double timestamp(WallTime time) { return seconds(time.time_since_epoch()); }

// A counter that follows a number kept elsewhere.
void follow(telemetry::Counter& counter, std::uint64_t value) { counter.add(value - counter.value()); }

}  // namespace

App::App(Loop& loop, io::Network& network, io::Files& files, Settings settings)
    : loop_(loop),
      network_(network),
      settings_(std::move(settings)),
      signing_(loop, files, settings_.ca_directory, settings_.trust_domain, settings_.server_names),
      nodes_(loop, files, settings_.manifest_directory, settings_.token_directory),
      service_(signing_, nodes_, {settings_.trust_domain, settings_.certificate_life}, metrics_, loop.clock()),
      server_(loop, CertificateService::server_options()),
      connections_(loop, server_, [this] { return signing_.serving(); }) {
  service_.add_to(server_);
  metrics_.registry.before_text([this] { refresh_metrics(); });
}

Result<void> App::start() {
  auto signing = signing_.start();
  if (!signing) return fail(std::move(signing).error().within("CA folder " + settings_.ca_directory));
  WEFT_TRY_VOID(nodes_.start());
  WEFT_TRY(listener_, network_.listen(settings_.listen, {}));
  WEFT_TRY(status_listener_, network_.listen(SocketAddress(IpAddress::loopback(false), settings_.status_port), {}));
  address_ = listener_->address();
  status_address_ = status_listener_->address();
  WEFT_LOG(kInfo, "ca", "listening", {"address", address_.to_string()}, {"status", status_address_.to_string()},
           {"trust_domain", settings_.trust_domain}, {"signer", signing_.authority()->signer().serial()},
           {"signer_ends", format_rfc3339(signing_.authority()->signer().not_after())});
  return {};
}

Task<void> App::run(StopToken stop) {
  Scope scope(loop_);
  const auto page = [this](admin::Request request, StopToken) { return status_page(std::move(request)); };
  scope.spawn(admin::serve(loop_, std::move(status_listener_), page, {.name = "status"}, scope.token()));
  // Numbers and readiness stay up until the last call has ended.
  co_await connections_.run(std::move(listener_), stop);
  scope.request_stop();
  co_await scope.join();
}

Task<admin::Response> App::status_page(admin::Request request) {
  if (request.path == "/metrics") co_return admin::metrics_page(metrics_.registry, request);
  if (request.path == "/healthz/ready") {
    auto problem = signing_.problem();
    if (problem) co_return admin::Response{.status = 503, .body = *problem + "\n"};
    co_return admin::Response{.body = "ready\n"};
  }
  co_return admin::Response{.status = 404, .body = "pages: /metrics, /healthz/ready\n"};
}

void App::refresh_metrics() {
  const auto& counters = connections_.counters();
  follow(metrics_.connections, counters.accepted);
  follow(metrics_.connections_refused, counters.refused);
  follow(metrics_.handshakes_failed, counters.handshakes_failed);
  follow(metrics_.reload_errors.with({{"folder", "ca"}}), signing_.reload_errors());
  follow(metrics_.reload_errors.with({{"folder", "manifests"}}), nodes_.manifest_errors());
  follow(metrics_.reload_errors.with({{"folder", "tokens"}}), nodes_.token_errors());
  metrics_.connections_open.set(static_cast<double>(counters.open));
  metrics_.nodes.set(static_cast<double>(nodes_.known()));
  metrics_.broken_manifests.set(static_cast<double>(nodes_.broken_files()));
  metrics_.authority_stale.set(signing_.stale() ? 1 : 0);
  metrics_.root_end.set(timestamp(signing_.roots_end()));
  metrics_.root_left.set(seconds(signing_.roots_end() - loop_.clock().wall()));
  metrics_.signer_end.set(timestamp(signing_.authority()->signer().not_after()));
  metrics_.serving_end.set(timestamp(signing_.serving_end()));
}

}  // namespace weft::certs::manager
