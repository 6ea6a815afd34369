// What all workers of the node share: its descriptors, what each identity holds, and the family in which limits are counted.
#pragma once

#include "ztunnel/limits/descriptors.h"
#include "ztunnel/limits/node_peers.h"
#include "ztunnel/limits/reasons.h"

namespace weft::ztunnel {

// Thread: any. Outlives the workers.
struct NodeLimits {
  // `descriptor_limit`: RLIMIT_NOFILE.
  NodeLimits(telemetry::Registry& registry, std::uint64_t descriptor_limit, const Settings& settings)
      : descriptors(descriptor_limit, settings.pod_descriptors),
        peers(settings.peer_limits, descriptors.total()),
        exceeded(limit_family(registry)) {}
  Descriptors descriptors;
  NodePeers peers;
  telemetry::CounterFamily& exceeded;
};

}  // namespace weft::ztunnel
