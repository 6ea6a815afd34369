// One workload (pod, VM entry) as the control plane describes it. Plain value; istio.workload.Workload.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "lib/base/ip.h"
#include "lib/model/identity.h"

namespace weft::model {

// An address inside a network; pods of different networks may share an IP.
struct NetworkAddress {
  std::string network;
  IpAddress ip;
  friend auto operator<=>(const NetworkAddress&, const NetworkAddress&) = default;
};

// A service's key.
struct NamespacedHostname {
  std::string namespace_name;
  std::string hostname;
  // "ns/hostname"
  std::string to_string() const { return namespace_name + "/" + hostname; }
  friend auto operator<=>(const NamespacedHostname&, const NamespacedHostname&) = default;
};

// A waypoint or network gateway, by address or by name.
struct GatewayAddress {
  std::variant<NetworkAddress, NamespacedHostname> destination;
  std::uint16_t hbone_mtls_port = 15008;
  friend bool operator==(const GatewayAddress&, const GatewayAddress&) = default;
};

enum class TunnelProtocol { kNone, kHbone };
enum class NetworkMode { kStandard, kHostNetwork };
enum class WorkloadType { kDeployment, kCronJob, kPod, kJob };
enum class HealthStatus { kHealthy, kUnhealthy };

std::string_view to_string(WorkloadType type);  // "deployment", "cronjob", "pod", "job"

struct Locality {
  std::string region, zone, subzone;
  friend bool operator==(const Locality&, const Locality&) = default;
};

struct ApplicationTunnel {
  bool proxy_protocol = false;
  std::optional<std::uint16_t> port;
  friend bool operator==(const ApplicationTunnel&, const ApplicationTunnel&) = default;
};

// Service port -> target port; 0: a named port, resolved per endpoint.
using PortMap = std::map<std::uint16_t, std::uint16_t>;

struct Workload {
  std::string uid;  // primary key, "cluster1//Pod/ns/name"
  std::string name;
  std::string namespace_name;
  std::string network;
  std::vector<IpAddress> addresses;
  TunnelProtocol protocol = TunnelProtocol::kNone;
  NetworkMode network_mode = NetworkMode::kStandard;
  std::string trust_domain;
  std::string service_account;
  std::string node;
  std::string cluster_id;
  std::string canonical_name;
  std::string canonical_revision;
  WorkloadType workload_type = WorkloadType::kDeployment;
  std::string workload_name;
  std::string hostname;
  bool native_tunnel = false;
  std::optional<ApplicationTunnel> application_tunnel;
  std::optional<GatewayAddress> waypoint;
  std::optional<GatewayAddress> network_gateway;
  std::vector<std::string> authorization_policies;  // "ns/name" keys
  HealthStatus status = HealthStatus::kHealthy;
  Locality locality;
  std::uint32_t capacity = 1;               // load-balancing weight
  std::map<std::string, PortMap> services;  // membership, keyed "ns/hostname"

  Identity identity() const { return {trust_domain, namespace_name, service_account}; }
  friend bool operator==(const Workload&, const Workload&) = default;
};

using WorkloadPtr = std::shared_ptr<const Workload>;

}  // namespace weft::model
