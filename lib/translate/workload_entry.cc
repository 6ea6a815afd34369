#include "lib/translate/detail/workloads.h"

namespace weft::translate::detail {
namespace {

using manifest::WorkloadEntry;

model::Locality parse_locality(const std::string& text) {
  model::Locality out;
  const auto first = text.find('/');
  out.region = text.substr(0, first);
  if (first == text.npos) return out;
  const auto second = text.find('/', first + 1);
  out.zone = text.substr(first + 1, second == text.npos ? text.npos : second - first - 1);
  if (second != text.npos) out.subzone = text.substr(second + 1);
  return out;
}

model::Workload from_entry(const World& world, const manifest::Meta& meta, const WorkloadEntry& entry,
                           const manifest::Labels& labels) {
  model::Workload workload;
  workload.name = meta.name;
  workload.namespace_name = meta.namespace_;
  if (auto ip = IpAddress::parse(entry.address)) {
    workload.addresses.push_back(*ip);
  } else {
    workload.hostname = entry.address;
  }
  workload.network = entry.network.empty() ? world.options.network : entry.network;
  workload.cluster_id = world.options.cluster_id;
  workload.trust_domain = world.options.trust_domain;
  workload.service_account = entry.service_account.empty() ? "default" : entry.service_account;
  workload.status = model::HealthStatus::kHealthy;
  auto names = canonical_names(labels, meta.name);
  workload.workload_type = model::WorkloadType::kPod;
  workload.workload_name = std::move(names.workload);
  workload.canonical_name = std::move(names.canonical);
  workload.canonical_revision = std::move(names.revision);
  workload.locality = parse_locality(entry.locality);
  if (entry.weight && *entry.weight > 0) workload.capacity = *entry.weight;
  return workload;
}

std::vector<NamedPort> named_ports(const WorkloadEntry& entry) {
  std::vector<NamedPort> out;
  for (const auto& [name, port] : entry.ports) out.push_back({name, port});
  return out;
}

// Services select pods; entries belong to ServiceEntries only, as istiod has it by default.
void keep_service_entries(const Inputs& inputs, const std::string& ns, model::Workload& workload) {
  auto found = inputs.services.memberships.find(ns);
  if (found == inputs.services.memberships.end()) return;
  for (const auto& membership : found->second) {
    if (membership.source == ServiceSource::kService) workload.services.erase(membership.key);
  }
}

void add_inline_endpoints(World& world, const Inputs& inputs, const Item<manifest::ServiceEntry>& item,
                          std::vector<model::Workload>& out) {
  const auto& source = *item.body;
  const auto& meta = item.meta();
  if (source.resolution == "NONE" || source.workload_selector) return;
  auto endpoints = source.endpoints;
  const bool resolves = source.resolution == "DNS" || source.resolution == "DNS_ROUND_ROBIN";
  if (endpoints.empty() && resolves) {
    // The host itself is the endpoint.
    for (const auto& host : source.hosts) {
      if (!host.starts_with('*')) endpoints.emplace_back().address = host;
    }
  }
  for (const auto& endpoint : endpoints) {
    auto workload = from_entry(world, meta, endpoint, endpoint.labels);
    workload.uid = world.options.cluster_id + "/networking.istio.io/ServiceEntry/" + meta.namespace_ + "/" + meta.name +
                   "/" + endpoint.address;
    attach(inputs, meta, endpoint.labels, named_ports(endpoint), nullptr, workload);
    workload.services.clear();
    const bool stands_for_host = source.endpoints.empty();
    for (const auto& host : source.hosts) {
      if (stands_for_host && host != endpoint.address) continue;
      const auto key = meta.namespace_ + "/" + host;
      for (const auto& membership : inputs.services.memberships.at(meta.namespace_)) {
        if (membership.key == key && membership.source == ServiceSource::kServiceEntry)
          workload.services.emplace(key, resolve_ports(membership, named_ports(endpoint)));
      }
    }
    out.push_back(std::move(workload));
  }
}

}  // namespace

void translate_entries(World& world, const Inputs& inputs, std::vector<model::Workload>& out) {
  for (const auto& item : world.entries) {
    const auto& meta = item.meta();
    auto labels = item.body->labels;
    labels.insert(meta.labels.begin(), meta.labels.end());
    auto workload = from_entry(world, meta, *item.body, labels);
    workload.uid = world.options.cluster_id + "/networking.istio.io/WorkloadEntry/" + meta.namespace_ + "/" + meta.name;
    attach(inputs, meta, labels, named_ports(*item.body), item.status, workload);
    keep_service_entries(inputs, meta.namespace_, workload);
    if (item.body->address.empty() && item.body->network.empty())
      item.status->find(Level::kError, "InvalidValue", "spec.address: missing; nothing can be sent to the entry");
    out.push_back(std::move(workload));
  }
  for (const auto& item : world.service_entries) add_inline_endpoints(world, inputs, item, out);
}

void translate_slices(World& world, const Inputs& inputs, std::vector<model::Workload>& out) {
  std::map<std::string, std::size_t> pods;  // "ns/name" -> index in `out`
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i].uid.find("//Pod/") != std::string::npos) pods[out[i].namespace_name + "/" + out[i].name] = i;
  }
  for (const auto& item : world.slices) {
    const auto& meta = item.meta();
    const auto* service = meta.label("kubernetes.io/service-name");
    if (!service || item.body->address_type == "FQDN") continue;
    const auto key = meta.namespace_ + "/" + *service + "." + meta.namespace_ + ".svc." + world.options.cluster_domain;
    auto found = inputs.services.memberships.find(meta.namespace_);
    if (found == inputs.services.memberships.end()) continue;
    const Membership* membership = nullptr;
    for (const auto& candidate : found->second) {
      if (candidate.key == key) membership = &candidate;
    }
    // A slice of a service with a selector repeats what the selector says.
    if (!membership || !membership->selector.empty()) continue;
    model::PortMap ports;
    for (const auto& port : membership->ports) {
      for (const auto& candidate : item.body->ports) {
        if (candidate.name == port.name && candidate.protocol == "TCP" && candidate.port != 0)
          ports[port.port] = candidate.port;
      }
    }
    for (const auto& endpoint : item.body->endpoints) {
      if (endpoint.target_kind == "Pod") {
        const auto ns = endpoint.target_namespace.empty() ? meta.namespace_ : endpoint.target_namespace;
        if (auto pod = pods.find(ns + "/" + endpoint.target_name); pod != pods.end() && ns == meta.namespace_)
          out[pod->second].services.emplace(key, ports);
        continue;
      }
      for (const auto& text : endpoint.addresses) {
        auto ip = IpAddress::parse(text);
        if (!ip) continue;
        model::Workload workload;
        workload.uid =
            world.options.cluster_id + "/discovery.k8s.io/EndpointSlice/" + meta.namespace_ + "/" + meta.name + "/" + text;
        workload.name = meta.name;
        workload.namespace_name = meta.namespace_;
        workload.network = world.options.network;
        workload.cluster_id = world.options.cluster_id;
        workload.trust_domain = world.options.trust_domain;
        workload.service_account = "default";
        workload.addresses = {*ip};
        workload.node = endpoint.node_name;
        // The address is nobody's own: found through the service only.
        workload.network_mode = model::NetworkMode::kHostNetwork;
        workload.status = endpoint.ready ? model::HealthStatus::kHealthy : model::HealthStatus::kUnhealthy;
        workload.services.emplace(key, ports);
        out.push_back(std::move(workload));
      }
    }
  }
}

}  // namespace weft::translate::detail
