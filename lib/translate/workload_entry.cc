// WorkloadEntries, and the endpoints written inside ServiceEntries.
#include "lib/translate/detail/workloads.h"
#include "lib/translate/enrolment.h"

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

// By label, or by the annotation of whoever set the endpoint up to take tunnels.
void attach_tunnel(const manifest::Meta& meta, const manifest::Labels& labels, model::Workload& workload) {
  const auto* redirection = meta.annotation(kRedirectionAnnotation);
  if (redirection && *redirection == "enabled") workload.protocol = model::TunnelProtocol::kHbone;
  attach_native_tunnel(labels, workload);
}

// An endpoint is the ServiceEntry's in all but its address, ports, account, place and waypoint.
void add_inline_endpoints(World& world, const Inputs& inputs, const Item<manifest::ServiceEntry>& item,
                          std::vector<model::Workload>& out) {
  const auto& source = *item.body;
  const auto& meta = item.meta();
  if (source.resolution == "NONE" || source.workload_selector) return;
  auto endpoints = source.endpoints;
  const bool resolves =
      source.resolution == "DNS" || source.resolution == "DNS_ROUND_ROBIN" || source.resolution == "DYNAMIC_DNS";
  const bool stand_for_hosts = endpoints.empty() && resolves;
  if (stand_for_hosts) {
    // The host itself is the endpoint; a pattern is no host.
    for (const auto& host : source.hosts) {
      if (!host.starts_with('*')) endpoints.emplace_back().address = host;
    }
  }
  std::map<std::string, const Membership*> own;  // by host; not those that another object has
  for (const auto& host : source.hosts) {
    const auto* membership = membership_of(inputs.services, meta.namespace_ + "/" + host, ServiceSource::kServiceEntry);
    if (membership && membership->object == meta.name) own.emplace(host, membership);
  }
  for (const auto& endpoint : endpoints) {
    auto workload = from_entry(world, meta, endpoint, meta.labels);
    workload.uid = world.options.cluster_id + "/networking.istio.io/ServiceEntry/" + meta.namespace_ + "/" + meta.name +
                   "/" + endpoint.address;
    workload.workload_name = meta.name;
    auto join = [&](const Membership& membership) {
      workload.services.emplace(membership.key, resolve_ports(membership, named_ports(endpoint), PortOwner::kEntry));
    };
    if (stand_for_hosts) {
      if (auto found = own.find(endpoint.address); found != own.end()) join(*found->second);
    } else {
      for (const auto& [host, membership] : own) join(*membership);
    }
    // Another object owns all of its hosts, or nobody is to see it.
    if (workload.services.empty()) continue;
    attach_policies(inputs, meta.labels, workload);
    if (!stand_for_hosts) attach_waypoint(inputs, meta, endpoint.labels, nullptr, workload);
    attach_tunnel(meta, meta.labels, workload);
    out.push_back(std::move(workload));
  }
}

}  // namespace

void translate_entries(World& world, const Inputs& inputs, std::vector<model::Workload>& out) {
  for (const auto& item : world.entries) {
    const auto& meta = item.meta();
    auto labels = meta.labels;  // before those of the specification
    labels.insert(item.body->labels.begin(), item.body->labels.end());
    auto workload = from_entry(world, meta, *item.body, labels);
    workload.uid = world.options.cluster_id + "/networking.istio.io/WorkloadEntry/" + meta.namespace_ + "/" + meta.name;
    attach_services(inputs, meta.namespace_, labels, named_ports(*item.body), PortOwner::kEntry, workload);
    attach_policies(inputs, labels, workload);
    attach_waypoint(inputs, meta, labels, item.status, workload);
    attach_tunnel(meta, labels, workload);
    if (item.body->address.empty() && item.body->network.empty())
      item.status->find(Level::kError, "InvalidValue", "spec.address: missing; nothing can be sent to the entry");
    out.push_back(std::move(workload));
  }
  for (const auto& item : world.service_entries) add_inline_endpoints(world, inputs, item, out);
}

}  // namespace weft::translate::detail
