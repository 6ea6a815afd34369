// What all sources of workloads share: names, memberships, policies.
#include <algorithm>

#include "lib/translate/detail/workloads.h"

namespace weft::translate::detail {
namespace {

const std::string* find(const manifest::Labels& labels, const char* key) {
  auto found = labels.find(key);
  return found == labels.end() || found->second.empty() ? nullptr : &found->second;
}

std::string first_of(const manifest::Labels& labels, std::initializer_list<const char*> keys, const std::string& fallback) {
  for (const auto* key : keys) {
    if (const auto* value = find(labels, key)) return *value;
  }
  return fallback;
}

// "-" and 8 to 10 digits at the end: the minute a CronJob started the job.
std::size_t timestamp_suffix(const std::string& name) {
  const auto dash = name.rfind('-');
  if (dash == name.npos || dash == 0) return name.npos;
  const auto digits = name.size() - dash - 1;
  const bool all = std::all_of(name.begin() + static_cast<std::ptrdiff_t>(dash) + 1, name.end(),
                               [](char c) { return c >= '0' && c <= '9'; });
  return all && digits >= 8 && digits <= 10 ? dash : name.npos;
}

}  // namespace

std::string owner_name(const manifest::Meta& pod) {
  for (const auto& owner : pod.owners) {
    if (!owner.controller) continue;
    if (owner.kind == "ReplicaSet") {
      for (const auto* label : {"pod-template-hash", "rollouts-pod-template-hash"}) {
        const auto* hash = find(pod.labels, label);
        if (hash && owner.name.ends_with("-" + *hash)) return owner.name.substr(0, owner.name.size() - hash->size() - 1);
      }
    }
    if (owner.kind == "ReplicationController") {
      if (const auto* config = find(pod.labels, "deploymentconfig")) return *config;
    }
    if (owner.kind == "Job") {
      if (const auto dash = timestamp_suffix(owner.name); dash != owner.name.npos) return owner.name.substr(0, dash);
    }
    return owner.name;
  }
  return pod.name;
}

WorkloadNames canonical_names(const manifest::Labels& labels, const std::string& owner) {
  WorkloadNames out;
  out.workload = first_of(labels, {"service.istio.io/workload-name"}, owner);
  out.canonical = first_of(labels, {"service.istio.io/canonical-name", "app.kubernetes.io/name", "app"}, out.workload);
  out.revision = first_of(labels, {"service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"}, "latest");
  return out;
}

const Membership* membership_of(const Services& services, const std::string& key, ServiceSource source) {
  auto found = services.by_key.find({key, source});
  return found == services.by_key.end() ? nullptr : found->second;
}

void attach_services(const Inputs& inputs, const std::string& ns, const manifest::Labels& labels,
                     const std::vector<NamedPort>& ports, PortOwner owner, model::Workload& workload) {
  auto found = inputs.services.memberships.find(ns);
  if (found == inputs.services.memberships.end()) return;
  for (const auto& membership : found->second) {
    if (membership.selector.empty() || !selects(membership.selector, labels)) continue;
    workload.services.emplace(membership.key, resolve_ports(membership, ports, owner));
  }
}

void attach_policies(const Inputs& inputs, const manifest::Labels& labels, model::Workload& workload) {
  workload.authorization_policies = policy_keys(inputs.policies, inputs.peers, workload.namespace_name, labels);
  if (const auto* origin = inputs.peers.origin(workload.namespace_name, labels))
    inputs.peer_authentications[workload.uid] = origin->meta.namespace_ + "/" + origin->meta.name;
}

void attach_waypoint(const Inputs& inputs, const manifest::Meta& meta, const manifest::Labels& labels, ObjectStatus* status,
                     model::Workload& workload) {
  auto binding = inputs.waypoints.bind(meta, labels, TrafficType::kWorkload, status);
  workload.waypoint = std::move(binding.waypoint);
  workload.application_tunnel = binding.application_tunnel;
}

void attach_native_tunnel(const manifest::Labels& labels, model::Workload& workload) {
  const auto* tunnel = find(labels, "networking.istio.io/tunnel");
  if (!tunnel || tunnel->find("http") == tunnel->npos) return;
  workload.protocol = model::TunnelProtocol::kHbone;
  workload.native_tunnel = true;
}

}  // namespace weft::translate::detail
