#include <algorithm>

#include "lib/translate/detail/services.h"

namespace weft::translate::detail {
namespace {

using Scope = model::LocalityScope;
using Mode = model::LoadBalancingMode;

constexpr const char* kDistributionAnnotation = "networking.istio.io/traffic-distribution";

std::optional<model::LoadBalancing> load_balancing(const World& world, const Item<manifest::Service>& item) {
  const auto& service = *item.body;
  std::optional<model::LoadBalancing> out;
  if (service.internal_traffic_policy == "Local") {
    out = model::LoadBalancing{{Scope::kNode}, Mode::kStrict, {}};
  } else {
    auto wish = service.traffic_distribution;
    const auto& inherited = world.namespace_annotations(item.meta().namespace_);
    if (wish.empty()) {
      if (const auto* own = item.meta().annotation(kDistributionAnnotation)) {
        wish = *own;
      } else if (auto found = inherited.find(kDistributionAnnotation); found != inherited.end()) {
        wish = found->second;
      }
    }
    out = traffic_distribution(wish);
    if (!out && !wish.empty() && wish != "Any")
      item.status->find(Level::kWarning, "FieldIgnored", "traffic distribution \"" + wish + "\" is not known; ignored");
  }
  if (service.publish_not_ready) {
    if (!out) out.emplace();
    out->health_policy = model::HealthPolicy::kAllowAll;
  }
  return out;
}

model::IpFamilies families(const std::vector<std::string>& names) {
  const bool v4 = std::find(names.begin(), names.end(), "IPv4") != names.end();
  const bool v6 = std::find(names.begin(), names.end(), "IPv6") != names.end();
  if (v4 && v6) return model::IpFamilies::kDual;
  if (v4) return model::IpFamilies::kIpv4Only;
  return v6 ? model::IpFamilies::kIpv6Only : model::IpFamilies::kAutomatic;
}

void translate_one(World& world, const Item<manifest::Service>& item, const Waypoints& waypoints, Services& out) {
  const auto& source = *item.body;
  const auto& meta = item.meta();
  if (source.type == "ExternalName") {
    item.status->find(Level::kInfo, "Info", "ExternalName is answered by DNS; the mesh has no part in it");
    return;
  }
  model::Service service;
  service.name = meta.name;
  service.namespace_name = meta.namespace_;
  service.hostname = meta.name + "." + meta.namespace_ + ".svc." + world.options.cluster_domain;
  for (const auto& text : source.cluster_ips) {
    if (auto ip = IpAddress::parse(text)) {
      service.vips.push_back({world.options.network, *ip});
    } else {
      item.status->find(Level::kError, "InvalidValue",
                        "spec.clusterIPs: \"" + text.substr(0, 100) + "\" is no address; left out");
    }
  }
  Membership membership;
  membership.key = meta.namespace_ + "/" + service.hostname;
  membership.object = meta.name;
  membership.selector = source.selector;
  for (const auto& port : source.ports) {
    // A port number may be there for TCP and for UDP; the mesh carries TCP.
    auto [at, added] = service.ports.emplace(port.port, port.target_port);
    if (!added && port.protocol != "TCP") continue;
    at->second = port.target_port;
    std::erase_if(membership.ports, [&](const auto& other) { return other.port == port.port; });
    membership.ports.push_back({port.port, port.target_port, port.name, port.target_name, port.protocol});
  }
  service.load_balancing = load_balancing(world, item);
  service.ip_families = families(source.ip_families);
  auto binding = waypoints.bind(meta, meta.labels, TrafficType::kService, item.status);
  service.waypoint = std::move(binding.waypoint);
  service.weighted_waypoints = std::move(binding.weighted);
  service.canonical = true;
  out.memberships[meta.namespace_].push_back(std::move(membership));
  out.services.push_back(std::move(service));
}

}  // namespace

std::optional<model::LoadBalancing> traffic_distribution(const std::string& text) {
  if (text == "PreferClose" || text == "PreferSameZone")
    return model::LoadBalancing{{Scope::kNetwork, Scope::kRegion, Scope::kZone}, Mode::kFailover, {}};
  if (text == "PreferSameNode")
    return model::LoadBalancing{
        {Scope::kNetwork, Scope::kRegion, Scope::kZone, Scope::kSubzone, Scope::kNode}, Mode::kFailover, {}};
  return std::nullopt;
}

void translate_services(World& world, const Waypoints& waypoints, Services& out) {
  for (const auto& item : world.services) translate_one(world, item, waypoints, out);
}

model::PortMap resolve_ports(const Membership& membership, const std::vector<NamedPort>& named, PortOwner owner) {
  model::PortMap out;
  for (const auto& port : membership.ports) {
    auto find_named = [&](const std::string& name) -> std::optional<std::uint16_t> {
      if (name.empty()) return std::nullopt;
      for (const auto& candidate : named) {
        if (candidate.name == name && candidate.protocol == port.protocol) return candidate.port;
      }
      return std::nullopt;
    };
    if (membership.source == ServiceSource::kServiceEntry) {
      // The entry's and the workload's ports are matched by name.
      const auto target = find_named(port.name).value_or(port.target);
      out[port.port] = target == 0 ? port.port : target;
    } else if (!port.target_name.empty()) {
      if (auto target = find_named(port.target_name)) out[port.port] = *target;
    } else {
      const auto own = owner == PortOwner::kEntry ? find_named(port.name) : std::nullopt;
      out[port.port] = own.value_or(port.target);
    }
  }
  return out;
}

}  // namespace weft::translate::detail
