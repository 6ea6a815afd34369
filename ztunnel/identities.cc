#include "ztunnel/identities.h"

namespace weft::ztunnel {

std::set<model::Identity> local_identities(const model::Snapshot& snapshot, const std::string& node) {
  std::set<model::Identity> identities;
  if (node.empty()) return identities;
  for (const auto& workload : snapshot.workloads()) {
    if (workload->node != node) continue;
    if (workload->protocol == model::TunnelProtocol::kHbone || workload->native_tunnel)
      identities.insert(workload->identity());
  }
  return identities;
}

void Identities::on_snapshot(const model::Snapshot& snapshot) {
  auto wanted = local_identities(snapshot, node_);
  gone_.clear();
  for (const auto& identity : warmed_) {
    if (wanted.contains(identity)) continue;
    secrets_.forget(identity);
    gone_.insert(identity);
  }
  for (const auto& identity : wanted) {
    if (!warmed_.contains(identity)) secrets_.request(identity, certs::Priority::kWarmup);
  }
  warmed_ = std::move(wanted);
}

Task<certs::SecretPtr> Identities::request(model::Identity identity) {
  // A worker that has not heard of the snapshot yet: to be forgotten again with the next one.
  if (gone_.contains(identity)) warmed_.insert(identity);
  co_return secrets_.request(identity, certs::Priority::kRealTime);
}

Task<certs::SecretPtr> Identities::secret(Loop& here, model::Identity identity) {
  auto secret = co_await call_on<certs::SecretPtr>(here, control_, [this, &identity] { return request(identity); });
  co_return secret;
}

}  // namespace weft::ztunnel
