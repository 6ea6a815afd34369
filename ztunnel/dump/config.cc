#include "ztunnel/dump/config.h"

#include <filesystem>

#include "lib/model/identity.h"

namespace weft::ztunnel::dump {
namespace {

constexpr std::uint16_t kDnsPort = 15053;
constexpr const char* kHidden = "<not shown>";

Json show(const SettingValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return text_or_null(*text);
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean;
  if (const auto* number = std::get_if<std::int64_t>(&value)) return *number;
  if (const auto* duration = std::get_if<Duration>(&value)) return dump::describe(*duration);
  return {};
}

// "a.b" is the member b of the object a.
void put(Json& config, const std::string& key, Json value) {
  const auto dot = key.find('.');
  if (dot == key.npos) {
    config[key] = std::move(value);
  } else {
    config[key.substr(0, dot)][key.substr(dot + 1)] = std::move(value);
  }
}

std::string wildcard(const Settings& set, std::uint16_t port) {
  return SocketAddress(IpAddress::any(set.ipv6_enabled), port).to_string();
}
Json on_loopback(const Settings& set, std::uint16_t port) { return {{"Localhost", Json::array({set.ipv6_enabled, port})}}; }
Json on_wildcard(const Settings& set, std::uint16_t port) { return {{"SocketAddr", wildcard(set, port)}}; }

// Inline PEM is not repeated, as upstream.
Json show_roots(const std::string& roots) {
  std::error_code ignored;
  if (roots == "SYSTEM") return "Default";
  if (roots.find('\n') == roots.npos && (roots.starts_with("./") || std::filesystem::exists(roots, ignored)))
    return {{"File", roots}};
  return {{"Static", Json::array()}};
}

Json describe(const WorkloadName& workload) {
  return {{"name", workload.name}, {"namespace", workload.namespace_name}, {"serviceAccount", workload.service_account}};
}

// Names alone: values are often credentials.
Json show_headers(const std::vector<std::pair<std::string, std::string>>& headers) {
  Json list = Json::array();
  for (const auto& [name, value] : headers) list.push_back(Json::array({name, kHidden}));
  return list;
}

}  // namespace

Json describe(const Settings& set) {
  Json config = Json::object();
  for (const auto& [key, value] : set.shown) put(config, key, show(value));
  config["dnsProxy"] = false;
  config["dnsProxyAddr"] = on_loopback(set, kDnsPort);
  config["dnsResolverCfg"] = Json();
  config["dnsResolverOpts"] = Json();
  config["socks5Addr"] = Json();
  config["adminAddr"] = on_loopback(set, set.admin_port);
  config["statsAddr"] = on_wildcard(set, set.stats_port);
  config["readinessAddr"] = on_wildcard(set, kReadinessPort);
  config["inboundAddr"] = wildcard(set, kHbonePort);
  config["inboundPlaintextAddr"] = wildcard(set, kInboundPlaintextPort);
  config["outboundAddr"] = wildcard(set, kOutboundPort);
  config["illegalPorts"] = {kOutboundPort, kInboundPlaintextPort, kHbonePort};
  config["network"] = set.network;
  const bool dedicated = set.mode == ProxyMode::kDedicated;
  config["proxyMode"] = dedicated ? "Dedicated" : "Shared";
  config["proxyWorkloadInformation"] = dedicated ? describe(set.workload) : Json();
  config["clusterId"] = set.cluster_id;
  config["caAddress"] = set.ca_address;
  config["caRootCert"] = show_roots(set.ca_root_ca);
  config["caHeaders"] = show_headers(set.ca_headers);
  config["xdsAddress"] = Json();
  config["xdsRootCert"] = Json();
  config["xdsHeaders"] = Json::array();
  config["fakeSelfInbound"] = false;
  config["selfTerminationDeadline"] = dump::describe(set.termination_deadline);
  config["proxyMetadata"] = set.proxy_metadata;
  config["numWorkerThreads"] = set.worker_threads;
  config["proxyArgs"] = set.proxy_args;
  config["packetMark"] = set.packet_mark == 0 ? Json() : Json(set.packet_mark);
  const bool own = set.has_own_identity();
  config["ztunnelIdentity"] =
      own ? Json(model::Identity{set.trust_domain, set.pod_namespace, set.service_account}.to_string()) : Json();
  config["ztunnelWorkload"] = own ? describe(WorkloadName{set.pod_namespace, set.pod_name, set.service_account}) : Json();
  return config;
}

}  // namespace weft::ztunnel::dump
