// Where an outbound connection goes: straight to its target, through a tunnel, or nowhere, with the reason. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/base/ip.h"
#include "lib/model/balance.h"
#include "lib/model/snapshot.h"

namespace weft::model {

enum class RouteKind {
  kPassthrough,  // target unknown to the mesh: plain TCP to the original destination
  kTcp,          // plain TCP to the chosen endpoint
  kHbone,        // CONNECT tunnel to `hop`
  kDoubleHbone,  // tunnel inside a tunnel through a network gateway
};

enum class HopKind { kWorkload, kWaypoint, kGateway };

struct Route {
  RouteKind kind = RouteKind::kPassthrough;
  HopKind hop_kind = HopKind::kWorkload;
  SocketAddress hop;                     // what is dialled
  std::string authority;                 // CONNECT target; empty for TCP
  std::vector<Identity> expected;        // identities the hop may have; for HBONE never empty unless nothing is acceptable
  std::vector<Identity> inner_expected;  // double HBONE only
  WorkloadPtr destination;               // for labels; the waypoint's or gateway's workload when that is the hop
  ServicePtr service;                    // addressed or resolved service, null when none
};

// `source` is the workload whose pod dialled `target` from `client_ip`; `hbone_port` is the port pods listen on (15008).
// Errors: kUnavailable with the texts upstream logs ("no healthy upstream: ...", "unknown waypoint: ...", ...).
Result<Route> choose_route(const Snapshot& snapshot, const Workload& source, const IpAddress& client_ip,
                           const SocketAddress& target, std::uint16_t hbone_port, const Draw& draw);

// Whether `client_ip` with the identity of `source` is one of the workloads behind `gateway`.
bool is_behind(const Snapshot& snapshot, const GatewayAddress& gateway, const Identity& identity, const IpAddress& ip);

// The service or workload a gateway address names. At most one of the two is set.
struct GatewayTarget {
  ServicePtr service;
  WorkloadPtr workload;
};
GatewayTarget find_gateway(const Snapshot& snapshot, const GatewayAddress& gateway);
// "ns/hostname" or "network/ip", for messages.
std::string describe(const GatewayAddress& gateway);

}  // namespace weft::model
