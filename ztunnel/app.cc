#include "ztunnel/app.h"

#include <cstdio>

#include "lib/base/log.h"
#include "ztunnel/authority.h"

namespace weft::ztunnel {
namespace {

constexpr const char* kTarget = "app";

zds::Pod pod_of(const WorkloadName& w) {
  return {.uid = w.namespace_name + "/" + w.name,
          .name = w.name,
          .namespace_name = w.namespace_name,
          .service_account = w.service_account};
}

}  // namespace

App::App(Settings settings, Surroundings surroundings)
    : settings_(std::move(settings)), around_(std::move(surroundings)), loop_(around_.control) {}
App::~App() = default;

Task<int> App::run(StopToken stop) {
  auto state = readiness_.begin("state manager");
  auto proxy = readiness_.begin("proxy");
  auto started = serve_readiness();
  if (started) started = prepare_certificates();
  if (started) started = read_mesh();
  if (started) {
    place_workers();
    started = serve_admin();
  }
  if (started) {
    co_await follow_mesh();
    auto complete = co_await mesh_->complete(stop);
    started = std::move(complete);
  }
  if (started) {
    auto own = co_await start_own_proxy();
    started = std::move(own);
  }
  if (started) {
    state.release();
    proxy.release();
    if (agent_) agent_scope_.spawn(take_pods());
    auto asked = co_await end_asked_.wait(stop);
    (void)asked;
  } else if (started.error().code() != ErrorCode::kCancelled) {
    exit_code_ = 1;
    WEFT_LOG(kError, kTarget, "failed to start", {"error", started.error().message()});
    std::fprintf(stderr, "Error: %s\n", started.error().message().c_str());
  }
  co_await shut_down();
  co_return exit_code_;
}

Result<void> App::serve_readiness() { return serve_wildcard(kReadinessPort, "readiness", readiness_.handler()); }

Result<void> App::prepare_certificates() {
  auto roots = authority_roots(around_.files, settings_.ca_root_ca);
  auto token = authority_token(around_.files, settings_.auth_token);
  certs::CaClientOptions options;
  options.address = settings_.ca_address;
  if (!settings_.alt_ca_hostname.empty()) options.alternative_host = settings_.alt_ca_hostname;
  options.cluster_id = settings_.cluster_id;
  options.headers = settings_.ca_headers;
  options.certificate_life = settings_.secret_ttl;
  options.impersonates = settings_.mode == ProxyMode::kShared;
  // In a namespace whose traffic is redirected to us we would call the authority through ourselves, and a drain would wait
  // for that connection.
  if (settings_.mode == ProxyMode::kDedicated) options.mark = settings_.packet_mark;
  options.tls.tls12 = settings_.tls12_enabled;
  options.tls.post_quantum_only = settings_.post_quantum_only;
  WEFT_TRY(authority_, certs::CaClient::create(loop_, around_.network, around_.resolver, std::move(roots), std::move(token),
                                               std::move(options)));
  secrets_ = std::make_unique<certs::SecretManager>(loop_, *authority_);
  // A proxy of one workload asks for its certificate when it is needed, and for nobody else's.
  const std::string node = settings_.mode == ProxyMode::kShared ? settings_.node_name : "";
  identities_ = std::make_unique<Identities>(loop_, *secrets_, node);
  return {};
}

Result<void> App::read_mesh() {
  mesh_ = std::make_unique<Mesh>(loop_, around_.files, settings_, registry_,
                                 [this](const model::Snapshot& snapshot) { identities_->on_snapshot(snapshot); });
  return mesh_->start();
}

void App::place_workers() {
  std::vector<Worker*> workers;
  for (const auto& seat : around_.workers) {
    workers_.push_back(std::make_unique<Worker>(seat.loop, seat.networks, settings_, *identities_, traffic_, limits_));
    workers.push_back(workers_.back().get());
  }
  if (settings_.mode == ProxyMode::kDedicated) return;
  pods_ = std::make_unique<Pods>(loop_, std::move(workers), readiness_, registry_);
  agent_ = std::make_unique<zds::Client>(loop_, around_.packets, *pods_, settings_.inpod_uds);
}

Task<void> App::follow_mesh() {
  for (auto& worker : workers_) {
    Worker* raw = worker.get();
    co_await call_on<void>(loop_, raw->loop(), [this, raw] { return raw->follow(mesh_->published()); });
  }
}

Task<Result<void>> App::start_own_proxy() {
  if (settings_.mode == ProxyMode::kDedicated) {
    const auto pod = pod_of(settings_.workload);
    for (auto& worker : workers_) {
      const auto kind = dedicated_kind(settings_, worker == workers_.front());
      auto started = co_await start_on(*worker, pod, kind);
      if (!started) co_return started;
    }
  } else if (settings_.has_own_identity()) {
    const auto pod = pod_of({settings_.pod_namespace, settings_.pod_name, settings_.service_account});
    const auto kind = own_statistics_kind();
    auto started = co_await start_on(*workers_.front(), pod, kind);
    co_return started;
  }
  co_return Result<void>{};
}

Task<Result<void>> App::start_on(Worker& worker, const zds::Pod& pod, const ProxyKind& kind) {
  auto started =
      co_await call_on<Result<void>>(loop_, worker.loop(), [&worker, &pod, &kind] { return worker.start_own(pod, kind); });
  co_return started;
}

Task<void> App::drain_own_proxy(Worker& worker) {
  co_await call_on<void>(loop_, worker.loop(),
                         [&worker] { return worker.stop_pod(Worker::kOwnProxy, DrainMode::kGraceful); });
}

Task<void> App::take_pods() {
  auto ended = co_await agent_->run(agent_scope_.token());
  if (ended) co_return;
  WEFT_LOG(kError, "inpod", "workload proxy manager failed", {"error", ended.error().message()});
  exit_code_ = 1;
  end_asked_.set();
}

Task<void> App::shut_down() {
  readiness_.begin("shutdown").leave_pending();
  agent_scope_.request_stop();
  co_await agent_scope_.join();
  Scope draining(loop_);
  for (auto& worker : workers_) draining.spawn(drain_own_proxy(*worker));
  if (pods_) co_await pods_->drain();
  co_await draining.join();
  for (auto& worker : workers_) {
    Worker* raw = worker.get();
    co_await call_on<void>(loop_, raw->loop(), [raw] { return raw->stop(); });
  }
  workers_.clear();
  if (secrets_) co_await secrets_->stop();
  if (authority_) co_await authority_->stop();
  server_scope_.request_stop();
  co_await server_scope_.join();
  WEFT_LOG(kInfo, kTarget, "shutdown complete");
}

}  // namespace weft::ztunnel
