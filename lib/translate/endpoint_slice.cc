// EndpointSlices: addresses that belong to no pod become workloads of their own, without identity and found through the
// service only; pods that a slice names join its service.
//
// Source: istiod's ambient index, with one difference: there a slice can name pods of another namespace, here of its own
// only, so that nobody draws a neighbour's pods into a service.
#include <set>

#include "lib/translate/detail/workloads.h"

namespace weft::translate::detail {
namespace {

// By "ns/name".
using PodIndex = std::map<std::string, const manifest::Pod*>;

void join(const Membership& membership, const std::string& pod, const PodIndex& pods, model::Workload& workload) {
  auto found = pods.find(pod);
  if (found == pods.end() || workload.services.contains(membership.key)) return;
  workload.services.emplace(membership.key, resolve_ports(membership, named_ports(*found->second), PortOwner::kPod));
}

// By the service's name of the port, which a slice repeats.
model::PortMap slice_ports(const Membership& membership, const manifest::EndpointSlice& slice) {
  model::PortMap out;
  for (const auto& port : membership.ports) {
    for (const auto& candidate : slice.ports) {
      if (candidate.name == port.name && candidate.protocol == "TCP" && candidate.port != 0) out[port.port] = candidate.port;
    }
  }
  return out;
}

// Nothing when an address is none.
std::optional<model::Workload> from_endpoint(const World& world, const manifest::Meta& meta,
                                             const manifest::EndpointSlice::Endpoint& endpoint) {
  model::Workload workload;
  for (const auto& text : endpoint.addresses) {
    auto ip = IpAddress::parse(text);
    if (!ip) return std::nullopt;
    workload.addresses.push_back(*ip);
  }
  workload.uid = world.options.cluster_id + "/discovery.k8s.io/EndpointSlice/" + meta.namespace_ + "/" + meta.name + "/" +
                 endpoint.addresses.front();
  workload.name = meta.name;
  workload.namespace_name = meta.namespace_;
  workload.network = world.options.network;
  workload.cluster_id = world.options.cluster_id;
  workload.trust_domain = world.options.trust_domain;
  workload.service_account = "default";
  workload.network_mode = model::NetworkMode::kHostNetwork;
  workload.status = endpoint.ready ? model::HealthStatus::kHealthy : model::HealthStatus::kUnhealthy;
  return workload;
}

}  // namespace

void translate_slices(World& world, const Inputs& inputs, std::vector<model::Workload>& out) {
  std::map<std::string, std::size_t> workloads;  // uid -> index in `out`
  for (std::size_t i = 0; i < out.size(); ++i) workloads.emplace(out[i].uid, i);
  PodIndex pods;
  for (const auto& item : world.pods) pods.emplace(item.meta().namespace_ + "/" + item.meta().name, item.body);
  for (const auto& item : world.slices) {
    const auto& meta = item.meta();
    const auto* service = meta.label("kubernetes.io/service-name");
    if (!service || item.body->address_type == "FQDN") continue;
    const auto key = meta.namespace_ + "/" + *service + "." + meta.namespace_ + ".svc." + world.options.cluster_domain;
    const auto* membership = membership_of(inputs.services, key, ServiceSource::kService);
    if (!membership) continue;
    const auto ports = slice_ports(*membership, *item.body);
    std::set<std::string> seen;
    for (const auto& endpoint : item.body->endpoints) {
      if (endpoint.target_kind == "Pod") {
        const auto& ns = endpoint.target_namespace.empty() ? meta.namespace_ : endpoint.target_namespace;
        const auto name = ns + "/" + endpoint.target_name;
        auto found = workloads.find(world.options.cluster_id + "//Pod/" + name);
        if (ns == meta.namespace_ && found != workloads.end()) join(*membership, name, pods, out[found->second]);
        continue;
      }
      if (endpoint.addresses.empty() || !seen.insert(endpoint.addresses.front()).second) continue;
      auto workload = from_endpoint(world, meta, endpoint);
      if (!workload) {
        item.status->find(Level::kError, "InvalidValue",
                          "endpoints: \"" + endpoint.addresses.front().substr(0, 100) +
                              "\" or another address of the endpoint is none; the endpoint is left out");
        continue;
      }
      workload->services.emplace(key, ports);
      out.push_back(std::move(*workload));
    }
  }
}

}  // namespace weft::translate::detail
