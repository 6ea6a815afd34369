#include "lib/model/admit.h"

#include <algorithm>
#include <charconv>

namespace weft::model {
namespace {

// RFC 1035: 253 bytes of name; a bracketed IPv6 literal is shorter. The rest is room for the port.
constexpr std::size_t kAuthorityMax = 300;

bool owns(const Workload& workload, const IpAddress& ip) {
  return std::find(workload.addresses.begin(), workload.addresses.end(), ip) != workload.addresses.end();
}

// A waypoint pod accepts tunnels for the services and workloads it stands in front of.
bool stands_in_front(const Snapshot& snapshot, const Workload& local, const IpAddress& pod_ip, const IpAddress& target) {
  std::optional<GatewayAddress> waypoint;
  if (auto workload = snapshot.workload(local.network, target)) {
    waypoint = workload->waypoint;
  } else if (auto service = snapshot.service_by_vip(local.network, target, nullptr)) {
    waypoint = service->waypoint;
  }
  if (!waypoint) return false;
  auto found = find_gateway(snapshot, *waypoint);
  if (found.service) return found.service->endpoints.contains(local.uid);
  return found.workload && owns(*found.workload, pod_ip);
}

}  // namespace

Result<TunnelTarget> parse_authority(std::string_view authority) {
  auto invalid = [&] {
    std::string shown(authority.substr(0, kAuthorityMax));
    for (auto& c : shown)
      if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
    return fail(ErrorCode::kInvalidArgument, "no valid authority pseudo header: " + shown);
  };
  if (authority.empty() || authority.size() > kAuthorityMax) return invalid();
  if (auto address = SocketAddress::parse(authority)) return TunnelTarget(*address);
  const auto colon = authority.rfind(':');
  if (colon == authority.npos || colon == 0) return invalid();
  const auto host = authority.substr(0, colon);
  const auto digits = authority.substr(colon + 1);
  unsigned port = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size() || port > 65535) return invalid();
  const bool plausible = std::all_of(host.begin(), host.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' ||
           c == '*';
  });
  if (!plausible || host.size() > 253) return invalid();
  return TunnelTarget(HostPort{std::string(host), static_cast<std::uint16_t>(port)});
}

ServicePtr guess_service(const Snapshot& snapshot, const Workload& local, std::uint16_t port,
                         std::string_view forwarded_host) {
  ServicePtr guess;
  for (const auto& [key, ports] : local.services) {
    const auto slash = key.find('/');
    if (slash == key.npos) continue;
    auto service = snapshot.service({key.substr(0, slash), key.substr(slash + 1)});
    if (!service) continue;
    if (!forwarded_host.empty() && service->hostname == forwarded_host) return service;
    auto leads_here = [port](const PortMap& map) {
      return std::any_of(map.begin(), map.end(), [port](const auto& entry) { return entry.second == port; });
    };
    if (!guess && (leads_here(service->ports) || leads_here(ports))) guess = service;
  }
  return guess;
}

std::variant<Admission, Refusal> admit(const Snapshot& snapshot, const Workload& local, const IpAddress& pod_ip,
                                       const TunnelTarget& target, std::string_view forwarded_host,
                                       const std::function<bool(std::uint16_t)>& is_own_port) {
  const auto* address = std::get_if<SocketAddress>(&target);
  if (address && address->ip() != pod_ip && !local.application_tunnel &&
      !stands_in_front(snapshot, local, pod_ip, address->ip()))
    return Refusal{400, "ip mismatch: " + pod_ip.to_string() + " != " + address->ip().to_string()};

  Admission admission;
  std::uint16_t port = 0;
  if (address) {
    port = address->port();
    admission.proxy_destination = *address;
  } else {
    const auto& named = std::get<HostPort>(target);
    auto service = snapshot.service_by_hostname(named.host, &local.namespace_name);
    if (!service) return Refusal{503, "no service or workload for hostname: " + named.host};
    const std::string where = named.host + ":" + std::to_string(named.port);
    if (auto own = service->endpoints.find(local.uid); own != service->endpoints.end()) {
      if (auto mapped = own->second.ports.find(named.port); mapped != own->second.ports.end()) port = mapped->second;
    }
    if (port == 0) {
      if (auto mapped = service->ports.find(named.port); mapped != service->ports.end()) port = mapped->second;
    }
    if (port == 0) return Refusal{503, "requested service " + where + " found, but cannot resolve port"};
    if (local.application_tunnel && local.application_tunnel->proxy_protocol) {
      // The header needs an address: one of the service's, in our network and IPv4 by preference.
      const NetworkAddress* best = nullptr;
      auto rank = [&](const NetworkAddress& vip) { return 2 * (vip.network == local.network) + vip.ip.is_v4(); };
      for (const auto& vip : service->vips)
        if (!best || rank(vip) > rank(*best)) best = &vip;
      if (!best) return Refusal{503, "requested service " + named.host + " found, but has no IP addresses"};
      admission.proxy_destination = SocketAddress(best->ip, named.port);
    }
    admission.service = std::move(service);
  }
  if (is_own_port(port)) return Refusal{503, "attempted recursive call to ourselves"};
  if (local.application_tunnel) {
    admission.proxy_protocol = local.application_tunnel->proxy_protocol;
    if (local.application_tunnel->port) port = *local.application_tunnel->port;
    if (is_own_port(port)) return Refusal{503, "attempted recursive call to ourselves"};
  }
  admission.upstream = SocketAddress(pod_ip, port);
  if (!admission.service) admission.service = guess_service(snapshot, local, port, forwarded_host);
  return admission;
}

}  // namespace weft::model
