// Which endpoint of a service a new connection goes to. Pure: chance arrives as a function.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "lib/model/snapshot.h"

namespace weft::model {

// A uniformly distributed number below its argument.
using Draw = std::function<std::uint64_t(std::uint64_t below)>;

// What a connection is for decides which ports count.
enum class UpstreamMode { kStandard, kWaypoint };

struct Pick {
  WorkloadPtr workload;
  std::uint16_t port = 0;       // target port
  std::optional<IpAddress> ip;  // none: only reachable through its network gateway
};

// Weighted random choice among the endpoints that can take `service_port`; null workload when there is none.
// `target_ip` is the address the client used: its family is preferred.
Pick choose_endpoint(const Snapshot& snapshot, const Workload& source, const Service& service, std::uint16_t service_port,
                     const IpAddress& target_ip, UpstreamMode mode, const Draw& draw);

// The address to use of `workload` for a client that dialled `target_ip`.
std::optional<IpAddress> choose_ip(const Workload& workload, const Service* service, const IpAddress& target_ip);

}  // namespace weft::model
