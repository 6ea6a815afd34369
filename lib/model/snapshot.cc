#include "lib/model/snapshot.h"

#include <algorithm>
#include <tuple>

namespace weft::model {
namespace {

template <typename Map>
auto find_or_null(const Map& map, const typename Map::key_type& key) -> typename Map::mapped_type {
  auto found = map.find(key);
  return found == map.end() ? nullptr : found->second;
}

int address_score(const Workload& workload) {
  const bool pod = workload.uid.find("//Pod/") != std::string::npos;
  const bool hbone = workload.protocol == TunnelProtocol::kHbone;
  return pod ? (hbone ? 3 : 2) : (hbone ? 1 : 0);
}

bool visible(const Service& service, const std::string* client_namespace) {
  return !client_namespace || service.visibility == Visibility::kPublic || service.namespace_name == *client_namespace;
}

// Own namespace > last canonical > first.
ServicePtr best_of(const std::vector<ServicePtr>& candidates, const std::string* client_namespace) {
  ServicePtr first, canonical;
  for (const auto& service : candidates) {
    if (!visible(*service, client_namespace)) continue;
    if (client_namespace && service->namespace_name == *client_namespace) return service;
    if (service->canonical) canonical = service;
    if (!first) first = service;
  }
  return canonical ? canonical : first;
}

}  // namespace

WorkloadPtr Snapshot::workload(const std::string& uid) const { return find_or_null(workload_by_uid_, uid); }

WorkloadPtr Snapshot::workload(const std::string& network, const IpAddress& ip) const {
  return find_or_null(workload_by_ip_, AddressKey{network, ip});
}

WorkloadPtr Snapshot::local_workload(const std::string& namespace_name, const std::string& name,
                                     const std::string& service_account, const std::string& node) const {
  auto found = local_.find(namespace_name + "/" + name + "/" + service_account);
  if (found == local_.end()) return nullptr;
  for (const auto& workload : found->second)
    if (node.empty() || workload->node == node) return workload;
  return nullptr;
}

WorkloadPtr Snapshot::workload_by_hostname(const NamespacedHostname& key) const {
  return find_or_null(workload_by_hostname_, key.to_string());
}

ServicePtr Snapshot::service(const NamespacedHostname& key) const { return find_or_null(service_by_key_, key.to_string()); }

ServicePtr Snapshot::service_by_vip(const std::string& network, const IpAddress& ip,
                                    const std::string* client_namespace) const {
  auto found = service_by_vip_.find(AddressKey{network, ip});
  if (found != service_by_vip_.end()) {
    if (auto service = best_of(found->second, client_namespace)) return service;
  }
  const std::pair<CidrVip, ServicePtr>* best = nullptr;
  auto rank = [&](const std::pair<CidrVip, ServicePtr>& entry) {
    return std::tuple(client_namespace && entry.second->namespace_name == *client_namespace, entry.first.cidr.length(),
                      entry.second->canonical);
  };
  for (const auto& entry : cidr_services_) {
    if (entry.first.network != network || !entry.first.cidr.contains(ip) || !visible(*entry.second, client_namespace))
      continue;
    if (!best || rank(entry) > rank(*best)) best = &entry;
  }
  return best ? best->second : nullptr;
}

ServicePtr Snapshot::service_by_hostname(const std::string& hostname, const std::string* client_namespace) const {
  auto found = service_by_hostname_.find(hostname);
  return found == service_by_hostname_.end() ? nullptr : best_of(found->second, client_namespace);
}

PolicyPtr Snapshot::policy(const std::string& key) const { return find_or_null(policy_by_key_, key); }

std::vector<PolicyPtr> Snapshot::policies_for(const Workload& workload, std::vector<std::string>* unknown) const {
  std::vector<PolicyPtr> result;
  if (auto found = namespace_policies_.find(workload.namespace_name); found != namespace_policies_.end())
    result = found->second;
  result.insert(result.end(), global_policies_.begin(), global_policies_.end());
  for (const auto& key : workload.authorization_policies) {
    auto policy = find_or_null(policy_by_key_, key);
    if (!policy) {
      if (unknown) unknown->push_back(key);
    } else if (std::find(result.begin(), result.end(), policy) == result.end()) {
      result.push_back(std::move(policy));
    }
  }
  return result;
}

void Snapshot::index() {
  for (const auto& workload : workloads_) {
    workload_by_uid_[workload->uid] = workload;
    local_[workload->namespace_name + "/" + workload->name + "/" + workload->service_account].push_back(workload);
    if (!workload->hostname.empty())
      workload_by_hostname_.try_emplace(workload->namespace_name + "/" + workload->hostname, workload);
    if (workload->network_mode == NetworkMode::kHostNetwork) continue;
    for (const auto& ip : workload->addresses) {
      auto& slot = workload_by_ip_[AddressKey{workload->network, ip}];
      if (!slot || address_score(*workload) >= address_score(*slot)) slot = workload;
    }
  }
  for (const auto& service : services_) {
    service_by_key_[service->key().to_string()] = service;
    service_by_hostname_[service->hostname].push_back(service);
    for (const auto& vip : service->vips) service_by_vip_[AddressKey{vip.network, vip.ip}].push_back(service);
    for (const auto& block : service->cidr_vips) cidr_services_.emplace_back(block, service);
  }
  for (const auto& policy : policies_) {
    policy_by_key_[policy->key()] = policy;
    if (policy->scope == PolicyScope::kGlobal) global_policies_.push_back(policy);
    if (policy->scope == PolicyScope::kNamespace) namespace_policies_[policy->namespace_name].push_back(policy);
  }
}

}  // namespace weft::model
