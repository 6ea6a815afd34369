#include "ztunnel/limits/reasons.h"

namespace weft::ztunnel {

static_assert(static_cast<std::size_t>(LimitReason::kProtocol) == http2::kBreachCount);

std::string_view to_string(LimitReason reason) {
  switch (reason) {
    case LimitReason::kResets:
    case LimitReason::kControlFrames:
    case LimitReason::kNoProgress:
    case LimitReason::kTinyFrames:
    case LimitReason::kHeaderBlock:
    case LimitReason::kHeaderTimeout: return http2::to_string(static_cast<http2::Breach>(reason));
    case LimitReason::kProtocol: return "protocol";
    case LimitReason::kTls: return "tls";
    case LimitReason::kSourceHandshakes: return "source_handshakes";
    case LimitReason::kSlowHandshake: return "slow_handshake";
    case LimitReason::kSourceConnections: return "source_connections";
    case LimitReason::kIdentityConnections: return "identity_connections";
    case LimitReason::kSourceTunnels: return "source_tunnels";
    case LimitReason::kIdentityTunnels: return "identity_tunnels";
    case LimitReason::kNodeIdentityConnections: return "node_identity_connections";
    case LimitReason::kNodeIdentityTunnels: return "node_identity_tunnels";
    case LimitReason::kStalled: return "stalled";
    case LimitReason::kPodDescriptors: return "pod_descriptors";
    case LimitReason::kDescriptors: return "descriptors";
    case LimitReason::kBackOff: return "back_off";
    case LimitReason::kLogLines: return "log_lines";
  }
  return "unknown";
}

telemetry::CounterFamily& limit_family(telemetry::Registry& registry) {
  return registry.counters("weft_limits_exceeded",
                           "The number of times a peer or a pod was refused or cut for having or doing too much (unstable)");
}

LimitCounters::LimitCounters(telemetry::CounterFamily& family) {
  for (std::size_t i = 0; i < kLimitReasonCount; ++i)
    counters_[i] = &family.with({{"reason", std::string(to_string(static_cast<LimitReason>(i)))}});
}

}  // namespace weft::ztunnel
