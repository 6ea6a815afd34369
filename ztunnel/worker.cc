#include "ztunnel/worker.h"

#include "ztunnel/pod_proxy.h"

namespace weft::ztunnel {

Worker::Worker(Loop& loop, io::NetworkFactory& networks, const Settings& settings, Identities& identities,
               TrafficFamilies& families, NodeLimits& limits)
    : loop_(loop),
      networks_(networks),
      settings_(settings),
      identities_(identities),
      metrics_(families),
      limits_(limits),
      limit_counters_(limits.exceeded),
      handshake_pace_(loop),
      round_pace_(loop),
      open_connections_(loop),
      snapshot_(std::make_shared<const model::Snapshot>()) {}

Worker::~Worker() = default;

Task<void> Worker::follow(Published<model::Snapshot>& mesh) {
  watch_ = mesh.watch(loop_, [this](const model::SnapshotPtr& snapshot) { on_snapshot(snapshot); });
  if (auto current = mesh.current()) on_snapshot(current);
  co_return;
}

void Worker::on_snapshot(const model::SnapshotPtr& snapshot) {
  if (snapshot->revision() < snapshot_->revision()) return;  // follow() was ahead of the post
  snapshot_ = snapshot;
  for (auto& [id, pod] : pods_) pod->on_snapshot();
}

Task<Result<void>> Worker::start_pod(std::uint64_t id, zds::Pod pod, const Fd& netns) {
  auto network = networks_.in_namespace(netns);
  if (!network) co_return fail(std::move(network).error());
  co_return start(id, std::move(pod), std::move(*network), pod_kind(settings_));
}

Task<Result<void>> Worker::start_own(zds::Pod pod, ProxyKind kind) {
  co_return start(kOwnProxy, std::move(pod), networks_.own(), kind);
}

Result<void> Worker::start(std::uint64_t id, zds::Pod pod, io::NetworkPtr network, const ProxyKind& kind) {
  auto proxy = std::make_unique<PodProxy>(*this, std::move(pod), std::move(network), kind);
  WEFT_TRY_VOID(proxy->start());
  pods_[id] = std::move(proxy);
  return {};
}

Task<void> Worker::stop_pod(std::uint64_t id, DrainMode mode) {
  auto found = pods_.find(id);
  if (found == pods_.end()) co_return;
  PodProxy& proxy = *found->second;
  co_await proxy.stop(mode);
  pods_.erase(id);
}

Task<std::vector<PodReport>> Worker::report() {
  std::vector<PodReport> reports;
  Pace::Queue queue(round_pace_);
  for (auto next = pods_.begin(); next != pods_.end();) {
    const auto id = next->first;
    PodProxy& pod = *next->second;
    reports.push_back({id, pod.info(), pod.connections().inbound_rows(), pod.connections().outbound_rows()});
    co_await queue.turn();
    next = pods_.upper_bound(id);  // pods come and go meanwhile
  }
  co_return reports;
}

Task<void> Worker::stop() {
  WEFT_CHECK(pods_.empty());
  watch_ = {};
  co_return;
}

}  // namespace weft::ztunnel
