#include "lib/model/snapshot_editor.h"

namespace weft::model {
namespace {

// The pointer the last snapshot holds when the content is the same, so that unchanged objects keep their identity.
template <typename T>
std::shared_ptr<const T> share(T value, const std::shared_ptr<const T>& last) {
  if (last && *last == value) return last;
  return std::make_shared<const T>(std::move(value));
}

bool same_policies(const Workload& a, const Workload& b) { return a.authorization_policies == b.authorization_policies; }

}  // namespace

void SnapshotEditor::replace(const std::string& source, MeshObjects objects) {
  Contents before = std::move(sources_[source]);
  Contents& now = sources_[source] = Contents{};
  auto old = [](const auto& map, const std::string& key) {
    auto found = map.find(key);
    return found == map.end() ? nullptr : found->second;
  };
  for (auto& workload : objects.workloads) {
    auto last = old(before.workloads, workload.uid);
    auto uid = workload.uid;
    now.workloads[uid] = share(std::move(workload), last);
  }
  for (auto& service : objects.services) {
    auto key = service.key().to_string();
    now.services[key] = share(std::move(service), old(before.services, key));
  }
  for (auto& policy : objects.policies) {
    auto key = policy.key();
    now.policies[key] = share(std::move(policy), old(before.policies, key));
  }
}

void SnapshotEditor::upsert(const std::string& source, Workload workload) {
  auto uid = workload.uid;
  auto& slot = sources_[source].workloads[uid];
  slot = share(std::move(workload), slot);
}

void SnapshotEditor::upsert(const std::string& source, Service service) {
  auto key = service.key().to_string();
  auto& slot = sources_[source].services[key];
  slot = share(std::move(service), slot);
}

void SnapshotEditor::upsert(const std::string& source, Policy policy) {
  auto key = policy.key();
  auto& slot = sources_[source].policies[key];
  slot = share(std::move(policy), slot);
}

void SnapshotEditor::remove_address(const std::string& source, const std::string& resource_name) {
  auto& contents = sources_[source];
  if (contents.workloads.erase(resource_name) == 0) contents.services.erase(resource_name);
}

void SnapshotEditor::remove_policy(const std::string& source, const std::string& resource_name) {
  sources_[source].policies.erase(resource_name);
}

SnapshotPtr SnapshotEditor::commit() {
  Contents merged;
  for (const auto& [name, contents] : sources_) {
    for (const auto& [key, value] : contents.workloads) merged.workloads[key] = value;
    for (const auto& [key, value] : contents.services) merged.services[key] = value;
    for (const auto& [key, value] : contents.policies) merged.policies[key] = value;
  }

  // Endpoints: what services list, and what workloads say they belong to, healthy or wanted anyhow.
  std::map<std::string, std::map<std::string, Endpoint>> endpoints;
  std::map<std::string, std::map<std::string, Endpoint>> staged;
  for (const auto& [uid, workload] : merged.workloads) {
    for (const auto& [key, ports] : workload->services) {
      auto& where = merged.services.contains(key) ? endpoints : staged;
      where[key][uid] = Endpoint{uid, ports, workload->status};
    }
  }

  auto next = std::make_shared<Snapshot>();
  for (const auto& [uid, workload] : merged.workloads) next->workloads_.push_back(workload);
  for (const auto& [key, policy] : merged.policies) next->policies_.push_back(policy);
  for (const auto& [key, service] : merged.services) {
    Service complete = *service;
    if (auto found = endpoints.find(key); found != endpoints.end())
      for (auto& [uid, endpoint] : found->second) complete.endpoints[uid] = std::move(endpoint);
    if (complete.health_policy() == HealthPolicy::kOnlyHealthy)
      std::erase_if(complete.endpoints, [](const auto& item) { return item.second.status == HealthStatus::kUnhealthy; });
    next->services_.push_back(share(std::move(complete), last_->service(service->key())));
  }
  next->staged_ = std::move(staged);

  const bool policies_changed = [&] {
    if (next->policies_ != last_->policies_) return true;
    for (const auto& workload : next->workloads_) {
      auto before = last_->workload(workload->uid);
      if (before && before != workload && !same_policies(*before, *workload)) return true;
    }
    return false;
  }();
  if (!policies_changed && next->workloads_ == last_->workloads_ && next->services_ == last_->services_ &&
      next->staged_ == last_->staged_)
    return last_;
  next->revision_ = last_->revision_ + 1;
  next->policy_revision_ = last_->policy_revision_ + (policies_changed ? 1 : 0);
  next->index();
  last_ = next;
  return last_;
}

}  // namespace weft::model
