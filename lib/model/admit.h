// May this tunnel enter the pod, and where does it lead? Pure; the answer names the HTTP status of a refusal.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "lib/model/route.h"
#include "lib/model/snapshot.h"

namespace weft::model {

// The target of a CONNECT: an address, or a service's host name with its port.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};
using TunnelTarget = std::variant<SocketAddress, HostPort>;

// "ip:port", "[v6]:port" or "host:port". Hostile input: at most 300 bytes, no control characters, no user part.
// kInvalidArgument "no valid authority pseudo header: <text>".
Result<TunnelTarget> parse_authority(std::string_view authority);

struct Refusal {
  int status = 503;  // 400, 401, 503
  std::string message;
};

struct Admission {
  SocketAddress upstream;           // pod address and final port
  ServicePtr service;               // destination service as far as it is known, for labels
  bool proxy_protocol = false;      // prefix the upstream stream with a PROXY v2 header
  SocketAddress proxy_destination;  // destination address in that header
};

// `pod_ip` is the local address the tunnel arrived at; `forwarded_host` the service named by the caller (may be empty; for
// labels only). `is_own_port` tells the ports of ours that must never be dialled.
std::variant<Admission, Refusal> admit(const Snapshot& snapshot, const Workload& local, const IpAddress& pod_ip,
                                       const TunnelTarget& target, std::string_view forwarded_host,
                                       const std::function<bool(std::uint16_t)>& is_own_port);

// The service a connection to `port` of `local` most likely belongs to, for labels: the one named `forwarded_host`, else
// the first whose ports lead there; null when none.
ServicePtr guess_service(const Snapshot& snapshot, const Workload& local, std::uint16_t port,
                         std::string_view forwarded_host);

}  // namespace weft::model
