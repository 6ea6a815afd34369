#include "lib/manifest/local_config.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <limits>

#include "lib/manifest/documents.h"
#include "lib/manifest/reader.h"

namespace weft::manifest {
namespace {

using namespace model;

using Names = std::initializer_list<std::string_view>;

void invalid(const Reader& at, std::string message) { at.problem(Level::kError, "InvalidValue", std::move(message)); }

// `at` must be a map with all of `required` and nothing beyond them and `optional`.
void check_keys(const Reader& at, Names required, Names optional) {
  if (!at || !at.value()->is_map()) return invalid(at, "expected a map");
  for (const auto name : required) {
    if (!at.any(name)) invalid(at, "missing field \"" + std::string(name) + "\"");
  }
  auto among = [](Names names, const std::string& key) { return std::find(names.begin(), names.end(), key) != names.end(); };
  for (const auto& member : at.value()->members) {
    if (!among(required, member.key) && !among(optional, member.key))
      invalid(at, "unknown field \"" + member.key.substr(0, 100) + "\"");
  }
}

// The word of a field, one of a fixed list.
template <typename T>
T word(const Reader& at, std::initializer_list<std::pair<std::string_view, T>> words, T fallback) {
  auto text = at.as_text();
  if (!text) return fallback;
  for (const auto& [name, value] : words) {
    if (*text == name) return value;
  }
  std::string expected;
  for (const auto& [name, value] : words) expected.append(expected.empty() ? "" : ", ").append(name);
  invalid(at, "expected one of " + expected + ", found \"" + text->substr(0, 100) + "\"");
  return fallback;
}

template <typename T>
T number(const Reader& at, T fallback) {
  return static_cast<T>(at.as_integer(0, std::numeric_limits<T>::max()).value_or(fallback));
}

std::optional<NetworkAddress> as_network_address(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == text.npos) return std::nullopt;
  auto ip = IpAddress::parse(text.substr(slash + 1));
  if (!ip) return std::nullopt;
  return NetworkAddress{std::string(text.substr(0, slash)), *ip};
}

PortMap read_ports(const Reader& parent, std::string_view name) {
  PortMap ports;
  for (const auto& [key, value] : parent.entries(name)) {
    std::uint16_t port = 0;
    auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), port);
    if (error != std::errc{} || end != key.data() + key.size()) {
      invalid(value, "expected a port number as key");
    } else if (!value) {
      invalid(value, "expected a port number");
    } else {
      ports[port] = number<std::uint16_t>(value, 0);
    }
  }
  return ports;
}

std::optional<GatewayAddress> read_gateway(const Reader& at) {
  if (!at) return std::nullopt;
  check_keys(at, {"destination", "hboneMtlsPort"}, {});
  GatewayAddress gateway;
  gateway.hbone_mtls_port = number<std::uint16_t>(at.any("hboneMtlsPort"), 0);
  const auto text = at.text("destination");
  const auto slash = text.find('/');
  if (auto address = as_network_address(text)) {
    gateway.destination = std::move(*address);
  } else if (slash != text.npos) {
    gateway.destination = NamespacedHostname{text.substr(0, slash), text.substr(slash + 1)};
  } else {
    invalid(at.any("destination"), "expected \"network/IP\" or \"namespace/hostname\"");
  }
  return gateway;
}

HealthStatus read_status(const Reader& at) {
  return word(at, {{"Healthy", HealthStatus::kHealthy}, {"Unhealthy", HealthStatus::kUnhealthy}}, HealthStatus::kHealthy);
}

Workload read_workload(const Reader& at) {
  check_keys(at, {"namespace", "workloadIps", "services"},
             {"uid",
              "name",
              "protocol",
              "networkMode",
              "trustDomain",
              "serviceAccount",
              "network",
              "workloadName",
              "workloadType",
              "canonicalName",
              "canonicalRevision",
              "hostname",
              "node",
              "clusterId",
              "nativeTunnel",
              "applicationTunnel",
              "waypoint",
              "networkGateway",
              "authorizationPolicies",
              "status",
              "locality",
              "capacity"});
  Workload workload;
  workload.uid = at.text("uid");
  workload.name = at.text("name");
  workload.namespace_name = at.text("namespace");
  workload.network = at.text("network");
  for (const auto& item : at.list("workloadIps")) {
    if (auto ip = IpAddress::parse(item.as_text().value_or(""))) {
      workload.addresses.push_back(*ip);
    } else {
      invalid(item, "expected an IP address");
    }
  }
  workload.protocol =
      word(at.any("protocol"), {{"TCP", TunnelProtocol::kNone}, {"HBONE", TunnelProtocol::kHbone}}, TunnelProtocol::kNone);
  workload.network_mode =
      word(at.any("networkMode"), {{"Standard", NetworkMode::kStandard}, {"HostNetwork", NetworkMode::kHostNetwork}},
           NetworkMode::kStandard);
  workload.trust_domain = at.text("trustDomain");
  workload.service_account = at.text("serviceAccount");
  workload.node = at.text("node");
  workload.cluster_id = at.text("clusterId");
  workload.canonical_name = at.text("canonicalName");
  workload.canonical_revision = at.text("canonicalRevision");
  // Free text upstream; a word that is no type keeps the default.
  const auto type = at.text("workloadType");
  for (auto known : {WorkloadType::kDeployment, WorkloadType::kCronJob, WorkloadType::kPod, WorkloadType::kJob}) {
    auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; };
    const auto name = to_string(known);
    if (std::equal(type.begin(), type.end(), name.begin(), name.end(), same)) workload.workload_type = known;
  }
  workload.workload_name = at.text("workloadName");
  workload.hostname = at.text("hostname");
  workload.native_tunnel = at.boolean("nativeTunnel");
  if (auto tunnel = at.map("applicationTunnel")) {
    check_keys(tunnel, {"protocol"}, {"port"});
    ApplicationTunnel value;
    value.proxy_protocol = word(tunnel.any("protocol"), {{"NONE", false}, {"PROXY", true}}, false);
    if (auto port = tunnel.any("port")) value.port = number<std::uint16_t>(port, 0);
    workload.application_tunnel = value;
  }
  workload.waypoint = read_gateway(at.map("waypoint"));
  workload.network_gateway = read_gateway(at.map("networkGateway"));
  workload.authorization_policies = at.texts("authorizationPolicies");
  workload.status = read_status(at.any("status"));
  if (auto locality = at.map("locality")) {
    check_keys(locality, {"region", "zone", "subzone"}, {});
    workload.locality = {locality.text("region"), locality.text("zone"), locality.text("subzone")};
  }
  workload.capacity = number<std::uint32_t>(at.any("capacity"), 1);
  for (const auto& [key, ports] : at.entries("services")) {
    if (key.find('/') == key.npos) invalid(ports, "expected \"namespace/hostname\" as key");
    workload.services[key] = read_ports(at.map("services"), key);
  }
  return workload;
}

LoadBalancing read_load_balancing(const Reader& at) {
  check_keys(at, {"routingPreferences", "mode", "healthPolicy"}, {});
  LoadBalancing balancing;
  for (const auto& item : at.list("routingPreferences")) {
    if (!item) invalid(item, "expected a scope");
    balancing.preferences.push_back(word(item,
                                         {{"Region", LocalityScope::kRegion},
                                          {"Zone", LocalityScope::kZone},
                                          {"Subzone", LocalityScope::kSubzone},
                                          {"Node", LocalityScope::kNode},
                                          {"Cluster", LocalityScope::kCluster},
                                          {"Network", LocalityScope::kNetwork}},
                                         LocalityScope::kRegion));
  }
  balancing.mode = word(at.any("mode"),
                        {{"Standard", LoadBalancingMode::kStandard},
                         {"Strict", LoadBalancingMode::kStrict},
                         {"Failover", LoadBalancingMode::kFailover},
                         {"Passthrough", LoadBalancingMode::kPassthrough}},
                        LoadBalancingMode::kStandard);
  balancing.health_policy =
      word(at.any("healthPolicy"), {{"OnlyHealthy", HealthPolicy::kOnlyHealthy}, {"AllowAll", HealthPolicy::kAllowAll}},
           HealthPolicy::kOnlyHealthy);
  return balancing;
}

Service read_service(const Reader& at) {
  check_keys(at, {"name", "namespace", "hostname", "vips", "ports"},
             {"cidrVips", "endpoints", "subjectAltNames", "waypoint", "weightedWaypoints", "loadBalancer", "ipFamilies",
              "canonical", "visibility"});
  Service service;
  service.name = at.text("name");
  service.namespace_name = at.text("namespace");
  service.hostname = at.text("hostname");
  for (const auto& item : at.list("vips")) {
    if (auto vip = as_network_address(item.as_text().value_or(""))) {
      service.vips.push_back(std::move(*vip));
    } else {
      invalid(item, "expected \"network/IP\"");
    }
  }
  for (const auto& item : at.list("cidrVips")) {
    check_keys(item, {"network", "cidr"}, {});
    if (auto block = Cidr::parse(item.text("cidr"))) {
      service.cidr_vips.push_back({item.text("network"), *block});
    } else {
      invalid(item, "expected an address block");
    }
  }
  service.ports = read_ports(at, "ports");
  for (const auto& [uid, item] : at.entries("endpoints")) {
    check_keys(item, {"workloadUid", "port"}, {"status"});
    service.endpoints[uid] = {item.text("workloadUid"), read_ports(item, "port"), read_status(item.any("status"))};
  }
  service.subject_alt_names = at.texts("subjectAltNames");
  service.waypoint = read_gateway(at.map("waypoint"));
  for (const auto& item : at.list("weightedWaypoints")) {
    check_keys(item, {"destination", "weight"}, {});
    auto destination = read_gateway(item.map("destination"));
    if (destination) service.weighted_waypoints.push_back({*destination, number<std::uint32_t>(item.any("weight"), 0)});
  }
  if (auto balancing = at.map("loadBalancer")) service.load_balancing = read_load_balancing(balancing);
  service.ip_families = word(at.any("ipFamilies"),
                             {{"Dual", IpFamilies::kDual}, {"IPv4", IpFamilies::kIpv4Only}, {"IPv6", IpFamilies::kIpv6Only}},
                             IpFamilies::kAutomatic);
  service.canonical = at.boolean("canonical");
  service.visibility = word(at.any("visibility"), {{"Public", Visibility::kPublic}, {"Namespace", Visibility::kNamespace}},
                            Visibility::kPublic);
  return service;
}

std::vector<StringMatch> read_string_matches(const Reader& at, std::string_view name) {
  std::vector<StringMatch> matches;
  for (const auto& item : at.list(name)) {
    if (!item || !item.value()->is_map() || item.value()->members.size() != 1) {
      invalid(item, "expected a map with one of Exact, Prefix, Suffix, Presence");
      continue;
    }
    const auto& key = item.value()->members.front().key;
    StringMatch match;
    if (key == "Presence") {
      match.kind = StringMatch::Kind::kPresence;
    } else if (key == "Exact" || key == "Prefix" || key == "Suffix") {
      match.kind = key == "Exact" ? StringMatch::Kind::kExact
                                  : (key == "Prefix" ? StringMatch::Kind::kPrefix : StringMatch::Kind::kSuffix);
      if (!item.any(key)) invalid(item, "expected a text");
      match.value = item.text(key);
    } else {
      invalid(item, "expected one of Exact, Prefix, Suffix, Presence");
      continue;
    }
    matches.push_back(std::move(match));
  }
  return matches;
}

std::vector<ServiceAccountMatch> read_accounts(const Reader& at, std::string_view name) {
  std::vector<ServiceAccountMatch> accounts;
  for (const auto& item : at.list(name)) {
    check_keys(item, {"namespace", "serviceAccount"}, {});
    accounts.push_back({item.text("namespace"), item.text("serviceAccount")});
  }
  return accounts;
}

std::vector<Cidr> read_blocks(const Reader& at, std::string_view name) {
  std::vector<Cidr> blocks;
  for (const auto& item : at.list(name)) {
    if (auto block = Cidr::parse(item.as_text().value_or(""))) {
      blocks.push_back(*block);
    } else {
      invalid(item, "expected an address block");
    }
  }
  return blocks;
}

std::vector<std::uint16_t> read_port_list(const Reader& at, std::string_view name) {
  std::vector<std::uint16_t> ports;
  for (const auto& item : at.list(name)) {
    if (!item) invalid(item, "expected a port number");
    ports.push_back(number<std::uint16_t>(item, 0));
  }
  return ports;
}

Match read_match(const Reader& at) {
  check_keys(
      at, {},
      {"namespaces", "notNamespaces", "principals", "notPrincipals", "serviceAccounts", "notServiceAccounts", "sourceIps",
       "notSourceIps", "destinationIps", "notDestinationIps", "destinationPorts", "notDestinationPorts"});
  Match match;
  match.namespaces = read_string_matches(at, "namespaces");
  match.not_namespaces = read_string_matches(at, "notNamespaces");
  match.principals = read_string_matches(at, "principals");
  match.not_principals = read_string_matches(at, "notPrincipals");
  match.service_accounts = read_accounts(at, "serviceAccounts");
  match.not_service_accounts = read_accounts(at, "notServiceAccounts");
  match.source_ips = read_blocks(at, "sourceIps");
  match.not_source_ips = read_blocks(at, "notSourceIps");
  match.destination_ips = read_blocks(at, "destinationIps");
  match.not_destination_ips = read_blocks(at, "notDestinationIps");
  match.destination_ports = read_port_list(at, "destinationPorts");
  match.not_destination_ports = read_port_list(at, "notDestinationPorts");
  return match;
}

// The items of a list that stands directly inside another.
std::vector<Reader> items(const Reader& at, Problems* problems) {
  std::vector<Reader> out;
  if (!at || !at.value()->is_list()) {
    invalid(at, "expected a list");
    return out;
  }
  std::size_t i = 0;
  for (const auto& item : at.value()->items) out.emplace_back(&item, at.path() + "[" + std::to_string(i++) + "]", problems);
  return out;
}

Policy read_policy(const Reader& at, Problems* problems) {
  check_keys(at, {"name", "namespace", "scope", "action", "rules", "dryRun"}, {});
  Policy policy;
  policy.name = at.text("name");
  policy.namespace_name = at.text("namespace");
  policy.scope = word(at.any("scope"),
                      {{"Global", PolicyScope::kGlobal},
                       {"Namespace", PolicyScope::kNamespace},
                       {"WorkloadSelector", PolicyScope::kWorkloadSelector}},
                      PolicyScope::kNamespace);
  policy.action =
      word(at.any("action"), {{"Allow", PolicyAction::kAllow}, {"Deny", PolicyAction::kDeny}}, PolicyAction::kAllow);
  for (const auto& rule_at : at.list("rules")) {
    Rule rule;
    for (const auto& clause_at : items(rule_at, problems)) {
      Clause clause;
      for (const auto& match_at : items(clause_at, problems)) clause.push_back(read_match(match_at));
      rule.push_back(std::move(clause));
    }
    policy.rules.push_back(std::move(rule));
  }
  policy.dry_run = at.boolean("dryRun");
  return policy;
}

}  // namespace

Result<MeshObjects> parse_local_config(std::string_view text) {
  auto refuse = [](const Problem& problem) {
    return fail(ErrorCode::kInvalidArgument, "local configuration: line " + std::to_string(problem.line) +
                                                 (problem.path.empty() ? "" : ", " + problem.path) + ": " + problem.message);
  };
  const auto documents = read_yaml(text, Limits{});
  if (documents.error) return refuse(*documents.error);
  MeshObjects objects;
  if (documents.values.empty()) return objects;
  if (documents.values.size() > 1)
    return refuse(Problem{.message = "expected one document", .line = documents.values[1].line});

  Problems problems;
  const Reader root(&documents.values.front(), "", &problems);
  check_keys(root, {}, {"workloads", "services", "policies"});
  for (const auto& item : root.list("workloads")) objects.workloads.push_back(read_workload(item));
  for (const auto& item : root.list("services")) objects.services.push_back(read_service(item));
  for (const auto& item : root.list("policies")) objects.policies.push_back(read_policy(item, &problems));
  for (const auto& problem : problems.items()) {
    if (problem.level == Level::kError) return refuse(problem);
  }
  if (problems.errors() > 0) return fail(ErrorCode::kInvalidArgument, "local configuration: invalid");
  return objects;
}

}  // namespace weft::manifest
