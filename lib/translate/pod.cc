#include "lib/translate/detail/workloads.h"
#include "lib/translate/enrolment.h"

namespace weft::translate::detail {
namespace {

bool takes_tunnels(const World& world, const Item<manifest::Pod>& item) {
  if (world.options.tunnel_evidence == TunnelEvidence::kAnnotation) {
    const auto* annotation = item.meta().annotation(kRedirectionAnnotation);
    return annotation && *annotation == "enabled";
  }
  if (world.options.excluded_namespaces.contains(item.meta().namespace_)) return false;
  return decide_enrolment(item.meta(), item.body->spec.host_network, world.namespace_labels(item.meta().namespace_),
                          world.options.enablement) == Enrolment::kYes;
}

model::Locality locality_of(const World& world, const std::string& node) {
  auto found = world.nodes.find(node);
  if (found == world.nodes.end()) return {};
  auto label = [&](const char* key) {
    const auto* value = found->second.meta().label(key);
    return value ? *value : std::string();
  };
  return {label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"), label("topology.istio.io/subzone")};
}

}  // namespace

std::vector<NamedPort> named_ports(const manifest::Pod& pod) {
  std::vector<NamedPort> out;
  for (const auto& port : pod.spec.ports) out.push_back({port.name, port.port, port.protocol});
  return out;
}

void translate_pods(World& world, const Inputs& inputs, std::vector<model::Workload>& out) {
  for (const auto& item : world.pods) {
    const auto& pod = *item.body;
    const auto& meta = item.meta();
    if (pod.phase == "Succeeded" || pod.phase == "Failed") continue;
    model::Workload workload;
    for (const auto& text : pod.ips) {
      if (auto ip = IpAddress::parse(text)) {
        workload.addresses.push_back(*ip);
      } else {
        item.status->find(Level::kError, "InvalidValue",
                          "status.podIPs: \"" + text.substr(0, 100) + "\" is no address; left out");
      }
    }
    if (workload.addresses.empty()) continue;  // not placed yet
    workload.uid = world.options.cluster_id + "//Pod/" + meta.namespace_ + "/" + meta.name;
    workload.name = meta.name;
    workload.namespace_name = meta.namespace_;
    workload.network = world.options.network;
    workload.cluster_id = world.options.cluster_id;
    workload.trust_domain = world.options.trust_domain;
    workload.service_account = pod.spec.service_account;
    workload.node = pod.spec.node_name;
    workload.network_mode = pod.spec.host_network ? model::NetworkMode::kHostNetwork : model::NetworkMode::kStandard;
    workload.protocol = takes_tunnels(world, item) ? model::TunnelProtocol::kHbone : model::TunnelProtocol::kNone;
    workload.status = pod.ready && !meta.deleting ? model::HealthStatus::kHealthy : model::HealthStatus::kUnhealthy;
    auto names = canonical_names(meta.labels, owner_name(meta));
    workload.workload_type = model::WorkloadType::kPod;
    workload.workload_name = std::move(names.workload);
    workload.canonical_name = std::move(names.canonical);
    workload.canonical_revision = std::move(names.revision);
    workload.locality = locality_of(world, workload.node);
    attach_services(inputs, meta.namespace_, meta.labels, named_ports(pod), PortOwner::kPod, workload);
    attach_policies(inputs, meta.labels, workload);
    attach_waypoint(inputs, meta, meta.labels, item.status, workload);
    attach_native_tunnel(meta.labels, workload);
    out.push_back(std::move(workload));
  }
}

}  // namespace weft::translate::detail
