#include "lib/model/route.h"

#include <algorithm>

namespace weft::model {
namespace {

// A workload chosen to carry the connection.
struct Upstream {
  WorkloadPtr workload;
  ServicePtr service;  // null: addressed as a workload
  std::uint16_t port = 0;
  std::optional<IpAddress> ip;
};

// The service's extra names and the workload's own identity.
std::vector<Identity> expected_identities(const Service* service, const Workload& workload) {
  std::vector<Identity> expected;
  if (service) {
    for (const auto& name : service->subject_alt_names) {
      if (auto identity = Identity::parse(name)) expected.push_back(std::move(*identity));
    }
  }
  expected.push_back(workload.identity());
  std::sort(expected.begin(), expected.end());
  expected.erase(std::unique(expected.begin(), expected.end()), expected.end());
  return expected;
}

std::vector<Identity> service_identities(const Service& service) {
  std::vector<Identity> expected;
  for (const auto& name : service.subject_alt_names) {
    if (auto identity = Identity::parse(name)) expected.push_back(std::move(*identity));
  }
  return expected;
}

class Router {
 public:
  Router(const Snapshot& snapshot, const Workload& source, const SocketAddress& target, std::uint16_t hbone_port,
         const Draw& draw)
      : snapshot_(snapshot), source_(source), target_(target), hbone_port_(hbone_port), draw_(draw) {}

  Result<Route> choose(const IpAddress& client_ip) {
    // The workload's address wins over a service's when asking "is this a service?", as the control plane expects.
    ServicePtr service;
    if (!snapshot_.workload(source_.network, target_.ip()))
      service = snapshot_.service_by_vip(source_.network, target_.ip(), &source_.namespace_name);

    if (service) {
      if (auto waypoint = waypoint_of(*service)) return through_waypoint(*waypoint, service);
    }

    auto upstream = find_upstream(target_, UpstreamMode::kStandard);
    if (!upstream) {
      if (service && !service->passthrough())
        return fail(ErrorCode::kUnavailable, "no healthy upstream: " + target_.to_string());
      return Route{.hop = target_};
    }
    if (upstream->workload->network != source_.network) {
      if (!upstream->service) return fail(ErrorCode::kUnavailable, "no service for target address: " + target_.to_string());
      return through_gateway(*upstream->workload, upstream->service, service_identities(*upstream->service));
    }
    const auto& waypoint = upstream->workload->waypoint;
    if (!upstream->service && waypoint && !is_behind(snapshot_, *waypoint, source_.identity(), client_ip))
      return through_waypoint(*waypoint, nullptr);
    return direct(*upstream);
  }

 private:
  std::optional<GatewayAddress> waypoint_of(const Service& service) {
    std::uint64_t total = 0;
    for (const auto& weighted : service.weighted_waypoints) total += weighted.weight;
    if (total > 0) {
      auto ticket = draw_(total);
      for (const auto& weighted : service.weighted_waypoints) {
        if (ticket < weighted.weight) return weighted.destination;
        ticket -= weighted.weight;
      }
    }
    return service.waypoint;
  }

  // A service's virtual address first, then a workload's own.
  std::optional<Upstream> find_upstream(const SocketAddress& address, UpstreamMode mode) {
    if (auto service = snapshot_.service_by_vip(source_.network, address.ip(), &source_.namespace_name))
      return pick(std::move(service), address.port(), address.ip(), mode);
    if (auto workload = snapshot_.workload(source_.network, address.ip()))
      return Upstream{std::move(workload), nullptr, address.port(), address.ip()};
    return std::nullopt;
  }

  std::optional<Upstream> pick(ServicePtr service, std::uint16_t port, const IpAddress& target_ip, UpstreamMode mode) {
    auto chosen = choose_endpoint(snapshot_, source_, *service, port, target_ip, mode, draw_);
    if (!chosen.workload) return std::nullopt;
    return Upstream{std::move(chosen.workload), std::move(service), chosen.port, chosen.ip};
  }

  std::optional<Upstream> resolve(const GatewayAddress& gateway, UpstreamMode mode) {
    if (const auto* address = std::get_if<NetworkAddress>(&gateway.destination)) {
      auto found = find_gateway(snapshot_, gateway);
      if (found.service) return pick(found.service, gateway.hbone_mtls_port, address->ip, mode);
      if (found.workload) return Upstream{found.workload, nullptr, gateway.hbone_mtls_port, address->ip};
      return std::nullopt;
    }
    auto found = find_gateway(snapshot_, gateway);
    if (found.service) return pick(found.service, gateway.hbone_mtls_port, target_.ip(), mode);
    if (found.workload)
      return Upstream{found.workload, nullptr, gateway.hbone_mtls_port, choose_ip(*found.workload, nullptr, target_.ip())};
    return std::nullopt;
  }

  Result<Route> through_waypoint(const GatewayAddress& gateway, ServicePtr service) {
    auto waypoint = resolve(gateway, UpstreamMode::kWaypoint);
    if (!waypoint) return fail(ErrorCode::kUnavailable, "unknown waypoint: waypoint " + describe(gateway) + " not found");
    if (waypoint->workload->network != source_.network)
      return through_gateway(*waypoint->workload, service,
                             waypoint->service ? service_identities(*waypoint->service) : std::vector<Identity>{});
    if (!waypoint->ip)
      return fail(ErrorCode::kUnavailable, "no valid routing destination for workload: " + waypoint->workload->uid);
    Route route;
    route.kind = RouteKind::kHbone;
    route.hop_kind = HopKind::kWaypoint;
    route.hop = SocketAddress(*waypoint->ip, waypoint->port);
    route.authority = target_.to_string();
    route.expected = expected_identities(waypoint->service.get(), *waypoint->workload);
    route.destination = std::move(waypoint->workload);
    route.service = std::move(service);
    return route;
  }

  Result<Route> through_gateway(const Workload& remote, ServicePtr service, std::vector<Identity> inner_expected) {
    auto none = [&] { return fail(ErrorCode::kUnavailable, "no valid routing destination for workload: " + remote.uid); };
    if (!remote.network_gateway || !service) return none();
    auto gateway = resolve(*remote.network_gateway, UpstreamMode::kStandard);
    if (!gateway)
      return fail(ErrorCode::kUnavailable,
                  "unknown network gateway: network gateway " + describe(*remote.network_gateway) + " not found");
    if (!gateway->ip) return none();
    Route route;
    route.kind = RouteKind::kDoubleHbone;
    route.hop_kind = HopKind::kGateway;
    route.hop = SocketAddress(*gateway->ip, gateway->port);
    route.authority = service->hostname + ":" + std::to_string(target_.port());
    route.expected = expected_identities(gateway->service.get(), *gateway->workload);
    route.inner_expected = std::move(inner_expected);
    route.destination = std::move(gateway->workload);
    route.service = std::move(service);
    return route;
  }

  Result<Route> direct(const Upstream& upstream) {
    if (!upstream.ip)
      return fail(ErrorCode::kUnavailable, "no valid routing destination for workload: " + upstream.workload->uid);
    const SocketAddress address(*upstream.ip, upstream.port);
    Route route;
    route.destination = upstream.workload;
    route.service = upstream.service;
    if (upstream.workload->protocol == TunnelProtocol::kHbone) {
      route.kind = RouteKind::kHbone;
      route.hop = SocketAddress(*upstream.ip, hbone_port_);
      route.authority = address.to_string();
      route.expected = expected_identities(upstream.service.get(), *upstream.workload);
    } else {
      route.kind = RouteKind::kTcp;
      route.hop = address;
    }
    return route;
  }

  const Snapshot& snapshot_;
  const Workload& source_;
  const SocketAddress& target_;
  const std::uint16_t hbone_port_;
  const Draw& draw_;
};

}  // namespace

std::string describe(const GatewayAddress& gateway) {
  if (const auto* name = std::get_if<NamespacedHostname>(&gateway.destination)) return name->to_string();
  const auto& address = std::get<NetworkAddress>(gateway.destination);
  return address.network + "/" + address.ip.to_string();
}

GatewayTarget find_gateway(const Snapshot& snapshot, const GatewayAddress& gateway) {
  if (const auto* name = std::get_if<NamespacedHostname>(&gateway.destination)) {
    if (auto service = snapshot.service(*name)) return {std::move(service), nullptr};
    return {nullptr, snapshot.workload_by_hostname(*name)};
  }
  const auto& address = std::get<NetworkAddress>(gateway.destination);
  if (auto service = snapshot.service_by_vip(address.network, address.ip, nullptr)) return {std::move(service), nullptr};
  return {nullptr, snapshot.workload(address.network, address.ip)};
}

bool is_behind(const Snapshot& snapshot, const GatewayAddress& gateway, const Identity& identity, const IpAddress& ip) {
  auto is_it = [&](const Workload& workload) {
    return workload.identity() == identity &&
           std::find(workload.addresses.begin(), workload.addresses.end(), ip) != workload.addresses.end();
  };
  auto target = find_gateway(snapshot, gateway);
  if (target.workload) return is_it(*target.workload);
  if (!target.service) return false;
  for (const auto& [uid, endpoint] : target.service->endpoints) {
    auto workload = snapshot.workload(uid);
    if (workload && is_it(*workload)) return true;
  }
  return false;
}

Result<Route> choose_route(const Snapshot& snapshot, const Workload& source, const IpAddress& client_ip,
                           const SocketAddress& target, std::uint16_t hbone_port, const Draw& draw) {
  return Router(snapshot, source, target, hbone_port, draw).choose(client_ip);
}

}  // namespace weft::model
