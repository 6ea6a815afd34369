// One service with its addresses, ports and endpoints. Plain value; istio.workload.Service.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/model/workload.h"

namespace weft::model {

struct Endpoint {
  std::string workload_uid;
  PortMap ports;
  HealthStatus status = HealthStatus::kHealthy;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

struct CidrVip {
  std::string network;
  Cidr cidr;
  friend bool operator==(const CidrVip&, const CidrVip&) = default;
};

struct WeightedWaypoint {
  GatewayAddress destination;
  std::uint32_t weight = 0;
  friend bool operator==(const WeightedWaypoint&, const WeightedWaypoint&) = default;
};

enum class LocalityScope { kRegion, kZone, kSubzone, kNode, kCluster, kNetwork };
enum class LoadBalancingMode { kStandard, kStrict, kFailover, kPassthrough };
enum class HealthPolicy { kOnlyHealthy, kAllowAll };
enum class IpFamilies { kAutomatic, kIpv4Only, kIpv6Only, kDual };
enum class Visibility { kPublic, kNamespace };

struct LoadBalancing {
  std::vector<LocalityScope> preferences;
  LoadBalancingMode mode = LoadBalancingMode::kStandard;
  HealthPolicy health_policy = HealthPolicy::kOnlyHealthy;
  friend bool operator==(const LoadBalancing&, const LoadBalancing&) = default;
};

struct Service {
  std::string name;
  std::string namespace_name;
  std::string hostname;
  std::vector<NetworkAddress> vips;
  std::vector<CidrVip> cidr_vips;
  PortMap ports;
  std::vector<std::string> subject_alt_names;
  std::optional<GatewayAddress> waypoint;
  std::vector<WeightedWaypoint> weighted_waypoints;
  std::optional<LoadBalancing> load_balancing;
  IpFamilies ip_families = IpFamilies::kAutomatic;
  bool canonical = false;
  Visibility visibility = Visibility::kPublic;
  // By workload uid. Filled by the snapshot from the workloads' memberships, besides what the source itself lists.
  std::map<std::string, Endpoint> endpoints;

  NamespacedHostname key() const { return {namespace_name, hostname}; }
  bool passthrough() const { return load_balancing && load_balancing->mode == LoadBalancingMode::kPassthrough; }
  HealthPolicy health_policy() const { return load_balancing ? load_balancing->health_policy : HealthPolicy::kOnlyHealthy; }
  friend bool operator==(const Service&, const Service&) = default;
};

using ServicePtr = std::shared_ptr<const Service>;

}  // namespace weft::model
