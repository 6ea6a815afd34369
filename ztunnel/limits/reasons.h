// Why a peer or a pod was refused something because it had, or did, too much: the label values of one counter family.
//
// Families are shared by all threads; a LimitCounters belongs to one worker.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "lib/http2/budget.h"
#include "lib/telemetry/metrics.h"

namespace weft::ztunnel {

enum class LimitReason : std::uint8_t {
  // What an HTTP/2 connection was ended for, in http2::Breach's order.
  kResets,
  kControlFrames,
  kNoProgress,
  kTinyFrames,
  kHeaderBlock,
  kHeaderTimeout,
  kProtocol,                 // or for breaking its rules
  kTls,                      // a handshake that failed, or a connection that broke TLS's rules afterwards
  kSourceHandshakes,         // one address has too many unfinished handshakes
  kSlowHandshake,            // gave its place to another, or did not end in time
  kSourceConnections,        // one address has too many tunnel connections to a pod
  kIdentityConnections,      // one identity has
  kSourceTunnels,            // one address has too many tunnels to a pod
  kIdentityTunnels,          // one identity has
  kNodeIdentityConnections,  // one identity has too many tunnel connections to the node's pods together
  kNodeIdentityTunnels,      // too many tunnels to them together
  kStalled,                  // one identity has too many tunnels that stand still, and this was one
  kPodDescriptors,           // a pod has its share of this process's descriptors
  kDescriptors,              // this process has none left but those for its own use
  kBackOff,                  // refused for what the same peer did before
  kLogLines,                 // lines about refused connections that were not written
};
inline constexpr std::size_t kLimitReasonCount = static_cast<std::size_t>(LimitReason::kLogLines) + 1;
std::string_view to_string(LimitReason reason);
inline LimitReason reason_of(http2::Breach breach) { return static_cast<LimitReason>(breach); }

telemetry::CounterFamily& limit_family(telemetry::Registry& registry);

// Every reason is there from the start, at 0.
class LimitCounters {
 public:
  explicit LimitCounters(telemetry::CounterFamily& family);
  void count(LimitReason reason) { counters_[static_cast<std::size_t>(reason)]->add(); }

 private:
  std::array<telemetry::Counter*, kLimitReasonCount> counters_;
};

}  // namespace weft::ztunnel
