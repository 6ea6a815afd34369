#include "ztunnel/dump/objects.h"

#include <algorithm>

namespace weft::ztunnel::dump {
namespace {

constexpr const char* kEndpoints = "endpoints";

Json array() { return Json::array(); }
Json object() { return Json::object(); }

std::string show(const model::NetworkAddress& address) { return address.network + "/" + address.ip.to_string(); }
std::string_view show(model::HealthStatus status) {
  return status == model::HealthStatus::kHealthy ? "Healthy" : "Unhealthy";
}

std::string_view show(model::LocalityScope scope) {
  switch (scope) {
    case model::LocalityScope::kRegion: return "Region";
    case model::LocalityScope::kZone: return "Zone";
    case model::LocalityScope::kSubzone: return "Subzone";
    case model::LocalityScope::kNode: return "Node";
    case model::LocalityScope::kCluster: return "Cluster";
    case model::LocalityScope::kNetwork: return "Network";
  }
  return "";
}

std::string_view show(model::LoadBalancingMode mode) {
  switch (mode) {
    case model::LoadBalancingMode::kStandard: return "Standard";
    case model::LoadBalancingMode::kStrict: return "Strict";
    case model::LoadBalancingMode::kFailover: return "Failover";
    case model::LoadBalancingMode::kPassthrough: return "Passthrough";
  }
  return "";
}

std::string_view show(model::PolicyScope scope) {
  switch (scope) {
    case model::PolicyScope::kGlobal: return "Global";
    case model::PolicyScope::kNamespace: return "Namespace";
    case model::PolicyScope::kWorkloadSelector: return "WorkloadSelector";
  }
  return "";
}

Json describe(const model::GatewayAddress& gateway) {
  const auto* ip = std::get_if<model::NetworkAddress>(&gateway.destination);
  return {{"destination", ip ? show(*ip) : std::get<model::NamespacedHostname>(gateway.destination).to_string()},
          {"hboneMtlsPort", gateway.hbone_mtls_port}};
}

Json describe(const model::PortMap& ports) {
  Json json = object();
  for (const auto& [port, target] : ports) append(json, std::to_string(port), target);
  return json;
}

Json describe(const model::Endpoint& endpoint) {
  return {{"workloadUid", endpoint.workload_uid}, {"port", describe(endpoint.ports)}, {"status", show(endpoint.status)}};
}

void put(Json& json, const char* key, const std::string& text) {
  if (!text.empty()) json[key] = text;
}

Json describe(const model::StringMatch& match) {
  switch (match.kind) {
    case model::StringMatch::Kind::kExact: return {{"Exact", match.value}};
    case model::StringMatch::Kind::kPrefix: return {{"Prefix", match.value}};
    case model::StringMatch::Kind::kSuffix: return {{"Suffix", match.value}};
    case model::StringMatch::Kind::kPresence: return {{"Presence", array()}};
  }
  return {};
}
Json describe(const model::ServiceAccountMatch& match) {
  return {{"namespace", match.namespace_name}, {"serviceAccount", match.service_account}};
}
Json describe(const Cidr& block) { return block.to_string(); }
Json describe(std::uint16_t port) { return port; }

template <typename T>
void put(Json& json, const char* key, const std::vector<T>& conditions) {
  if (conditions.empty()) return;
  Json& list = json[key] = array();
  for (const auto& condition : conditions) list.push_back(describe(condition));
}

Json describe(const model::Match& match) {
  Json json = object();
  put(json, "namespaces", match.namespaces);
  put(json, "notNamespaces", match.not_namespaces);
  put(json, "serviceAccounts", match.service_accounts);
  put(json, "notServiceAccounts", match.not_service_accounts);
  put(json, "principals", match.principals);
  put(json, "notPrincipals", match.not_principals);
  put(json, "sourceIps", match.source_ips);
  put(json, "notSourceIps", match.not_source_ips);
  put(json, "destinationIps", match.destination_ips);
  put(json, "notDestinationIps", match.not_destination_ips);
  put(json, "destinationPorts", match.destination_ports);
  put(json, "notDestinationPorts", match.not_destination_ports);
  return json;
}

Json describe(const model::Workload& w) {
  Json json = object();
  Json& ips = json["workloadIps"] = array();
  for (const auto& ip : w.addresses) ips.push_back(ip.to_string());
  if (w.waypoint) json["waypoint"] = describe(*w.waypoint);
  if (w.network_gateway) json["networkGateway"] = describe(*w.network_gateway);
  json["protocol"] = w.protocol == model::TunnelProtocol::kHbone ? "HBONE" : "TCP";
  json["networkMode"] = w.network_mode == model::NetworkMode::kStandard ? "Standard" : "HostNetwork";
  put(json, "uid", w.uid);
  json["name"] = w.name;
  json["namespace"] = w.namespace_name;
  put(json, "trustDomain", w.trust_domain);
  put(json, "serviceAccount", w.service_account);
  put(json, "network", w.network);
  put(json, "workloadName", w.workload_name);
  json["workloadType"] = model::to_string(w.workload_type);
  put(json, "canonicalName", w.canonical_name);
  put(json, "canonicalRevision", w.canonical_revision);
  put(json, "hostname", w.hostname);
  put(json, "node", w.node);
  if (w.native_tunnel) json["nativeTunnel"] = true;
  if (w.application_tunnel) {
    const auto& port = w.application_tunnel->port;
    json["applicationTunnel"] = {{"protocol", w.application_tunnel->proxy_protocol ? "PROXY" : "NONE"},
                                 {"port", port ? Json(*port) : Json()}};
  }
  if (!w.authorization_policies.empty()) json["authorizationPolicies"] = w.authorization_policies;
  json["status"] = show(w.status);
  json["clusterId"] = w.cluster_id;
  if (w.locality != model::Locality{})
    json["locality"] = {{"region", w.locality.region}, {"zone", w.locality.zone}, {"subzone", w.locality.subzone}};
  if (!w.services.empty()) {
    Json& services = json["services"] = array();
    for (const auto& [service, ports] : w.services) services.push_back(service);
  }
  json["capacity"] = w.capacity;
  return json;
}

// Without its endpoints, which may be many.
Json describe(const model::Service& s) {
  Json json = {{"name", s.name}, {"namespace", s.namespace_name}, {"hostname", s.hostname}};
  Json& vips = json["vips"] = array();
  for (const auto& vip : s.vips) vips.push_back(show(vip));
  if (!s.cidr_vips.empty()) {
    Json& blocks = json["cidrVips"] = array();
    for (const auto& block : s.cidr_vips) blocks.push_back({{"network", block.network}, {"cidr", block.cidr.to_string()}});
  }
  json["ports"] = describe(s.ports);
  json[kEndpoints] = object();  // written by write_service()
  json["subjectAltNames"] = s.subject_alt_names;
  if (s.waypoint) json["waypoint"] = describe(*s.waypoint);
  if (!s.weighted_waypoints.empty()) {
    Json& waypoints = json["weightedWaypoints"] = array();
    for (const auto& waypoint : s.weighted_waypoints)
      waypoints.push_back({{"destination", describe(waypoint.destination)}, {"weight", waypoint.weight}});
  }
  if (s.load_balancing) {
    Json preferences = array();
    for (const auto scope : s.load_balancing->preferences) preferences.push_back(show(scope));
    json["loadBalancer"] = {
        {"routingPreferences", std::move(preferences)},
        {"mode", show(s.load_balancing->mode)},
        {"healthPolicy", s.load_balancing->health_policy == model::HealthPolicy::kOnlyHealthy ? "OnlyHealthy" : "AllowAll"}};
  }
  switch (s.ip_families) {
    case model::IpFamilies::kAutomatic: break;
    case model::IpFamilies::kIpv4Only: json["ipFamilies"] = "IPv4"; break;
    case model::IpFamilies::kIpv6Only: json["ipFamilies"] = "IPv6"; break;
    case model::IpFamilies::kDual: json["ipFamilies"] = "Dual"; break;
  }
  json["canonical"] = s.canonical;
  json["visibility"] = s.visibility == model::Visibility::kPublic ? "Public" : "Namespace";
  return json;
}

Json describe(const model::Policy& policy) {
  Json rules = array();
  for (const auto& rule : policy.rules) {
    Json clauses = array();
    for (const auto& clause : rule) {
      Json matches = array();
      for (const auto& match : clause) matches.push_back(describe(match));
      clauses.push_back(std::move(matches));
    }
    rules.push_back(std::move(clauses));
  }
  return {{"name", policy.name},         {"namespace", policy.namespace_name},
          {"scope", show(policy.scope)}, {"action", policy.action == model::PolicyAction::kAllow ? "Allow" : "Deny"},
          {"rules", std::move(rules)},   {"dryRun", policy.dry_run}};
}

Task<void> write_endpoints(Writer& out, std::string_view key, const std::map<std::string, model::Endpoint>& endpoints) {
  out.begin(key, '{');
  for (const auto& [uid, endpoint] : endpoints) {
    out.member(uid, describe(endpoint));
    if (out.due()) co_await out.pause();
  }
  out.end();
}

Task<void> write_service(Writer& out, const model::Service& service) {
  const Json json = describe(service);
  out.begin('{');
  for (const auto& [key, value] : json.items()) {
    if (key == kEndpoints) {
      co_await write_endpoints(out, key, service.endpoints);
    } else {
      out.member(key, value);
    }
  }
  out.end();
}

// Of objects or of pointers to them.
template <typename T>
const T& object_of(const T& object) {
  return object;
}
template <typename T>
const T& object_of(const std::shared_ptr<const T>& object) {
  return *object;
}

template <typename List>
Task<void> write_list(Writer& out, std::string_view key, const List& objects) {
  out.begin(key, '[');
  for (const auto& object : objects) {
    out.element(describe(object_of(object)));
    if (out.due()) co_await out.pause();
  }
  out.end();
}

template <typename List>
Task<void> write_services(Writer& out, const List& services) {
  out.begin("services", '[');
  for (const auto& service : services) {
    co_await write_service(out, object_of(service));
    if (out.due()) co_await out.pause();
  }
  out.end();
}

}  // namespace

Task<void> write_mesh(Writer& out, const model::Snapshot& mesh) {
  co_await write_list(out, "workloads", mesh.workloads());
  auto by_hostname = mesh.services();
  std::stable_sort(by_hostname.begin(), by_hostname.end(),
                   [](const auto& a, const auto& b) { return a->hostname < b->hostname; });
  co_await write_services(out, by_hostname);
  co_await write_list(out, "policies", mesh.policies());
  out.begin("stagedServices", '{');
  for (const auto& [service, endpoints] : mesh.staged()) co_await write_endpoints(out, service, endpoints);
  out.end();
}

Task<void> write_objects(Writer& out, const model::MeshObjects& objects) {
  co_await write_list(out, "workloads", objects.workloads);
  co_await write_list(out, "policies", objects.policies);
  co_await write_services(out, objects.services);
}

}  // namespace weft::ztunnel::dump
