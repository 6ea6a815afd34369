#include "lib/model/balance.h"

#include <algorithm>
#include <vector>

namespace weft::model {
namespace {

bool same_scope(LocalityScope scope, const Workload& a, const Workload& b) {
  switch (scope) {
    case LocalityScope::kRegion: return a.locality.region == b.locality.region;
    case LocalityScope::kZone: return a.locality.zone == b.locality.zone;
    case LocalityScope::kSubzone: return a.locality.subzone == b.locality.subzone;
    case LocalityScope::kNode: return a.node == b.node;
    case LocalityScope::kCluster: return a.cluster_id == b.cluster_id;
    case LocalityScope::kNetwork: return a.network == b.network;
  }
  return false;
}

struct Rank {
  std::size_t matched = 0;   // consecutive preferences from the first
  std::size_t adjusted = 0;  // with the bonus of a network that comes first
};

Rank rank_of(const std::vector<LocalityScope>& preferences, const Workload& source, const Workload& target) {
  Rank rank;
  const bool network_first = !preferences.empty() && preferences.front() == LocalityScope::kNetwork;
  std::size_t bonus = 0;
  for (std::size_t i = 0; i < preferences.size(); ++i) {
    const bool same = same_scope(preferences[i], source, target);
    if (network_first && i == 0) {
      // Any endpoint of the own network outranks every remote one; a remote one is still ranked by the other scopes.
      if (same) bonus = preferences.size() - 1;
      rank.matched += same;
      continue;
    }
    if (!same) break;
    ++rank.matched;
  }
  rank.adjusted = rank.matched + bonus;
  return rank;
}

std::optional<std::uint16_t> target_port(const Service& service, const Endpoint& endpoint, const Workload& workload,
                                         std::uint16_t service_port) {
  if (auto own = endpoint.ports.find(service_port); own != endpoint.ports.end() && own->second != 0) return own->second;
  if (auto shared = service.ports.find(service_port); shared != service.ports.end() && shared->second != 0)
    return shared->second;
  if (workload.application_tunnel && workload.application_tunnel->port) return service_port;
  return std::nullopt;
}

bool allowed(IpFamilies families, const IpAddress& ip) {
  if (families == IpFamilies::kIpv4Only) return ip.is_v4();
  if (families == IpFamilies::kIpv6Only) return ip.is_v6();
  return true;
}

}  // namespace

std::optional<IpAddress> choose_ip(const Workload& workload, const Service* service, const IpAddress& target_ip) {
  const auto& ips = workload.addresses;
  if (std::find(ips.begin(), ips.end(), target_ip) != ips.end()) return target_ip;
  const auto families = service ? service->ip_families : IpFamilies::kAutomatic;
  std::optional<IpAddress> first;
  for (const auto& ip : ips) {
    if (!allowed(families, ip)) continue;
    if (ip.is_v6() == target_ip.is_v6()) return ip;
    if (!first) first = ip;
  }
  return first;
}

Pick choose_endpoint(const Snapshot& snapshot, const Workload& source, const Service& service, std::uint16_t service_port,
                     const IpAddress& target_ip, UpstreamMode mode, const Draw& draw) {
  if (service.passthrough()) return {};
  const bool port_known = service.ports.contains(service_port);
  if (!port_known && mode == UpstreamMode::kStandard) return {};

  struct Candidate {
    WorkloadPtr workload;
    std::uint16_t port;
    Rank rank;
  };
  std::vector<Candidate> candidates;
  const auto* balancing = service.load_balancing ? &*service.load_balancing : nullptr;
  for (const auto& [uid, endpoint] : service.endpoints) {
    auto workload = snapshot.workload(uid);
    if (!workload) continue;
    if (workload->addresses.empty() && workload->hostname.empty() &&
        !(workload->network != source.network && workload->network_gateway))
      continue;
    if (!port_known && !workload->application_tunnel) continue;
    auto port = target_port(service, endpoint, *workload, service_port);
    if (!port) continue;
    Rank rank = balancing ? rank_of(balancing->preferences, source, *workload) : Rank{};
    candidates.push_back({std::move(workload), *port, rank});
  }
  if (balancing && balancing->mode == LoadBalancingMode::kStrict) {
    std::erase_if(candidates, [&](const Candidate& c) { return c.rank.matched != balancing->preferences.size(); });
  } else if (balancing && balancing->mode == LoadBalancingMode::kFailover && !candidates.empty()) {
    const auto best = std::max_element(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
                        return a.rank.adjusted < b.rank.adjusted;
                      })->rank.adjusted;
    std::erase_if(candidates, [&](const Candidate& c) { return c.rank.adjusted != best; });
  }

  std::uint64_t total = 0;
  for (const auto& candidate : candidates) total += candidate.workload->capacity;
  if (total == 0) return {};
  auto ticket = draw(total);
  for (auto& candidate : candidates) {
    if (ticket < candidate.workload->capacity) {
      auto ip = choose_ip(*candidate.workload, &service, target_ip);
      return {std::move(candidate.workload), candidate.port, ip};
    }
    ticket -= candidate.workload->capacity;
  }
  return {};
}

}  // namespace weft::model
