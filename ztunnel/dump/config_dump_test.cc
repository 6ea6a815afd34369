// What the page says of given contents; that a running node gathers them is tested in tests/netns.
#include "ztunnel/dump/config_dump.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "lib/async/manual_loop.h"
#include "lib/base/base64.h"
#include "lib/tls/test_authority.h"
#include "ztunnel/dump/json.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;
using dump::Json;

namespace {

using Environment = std::map<std::string, std::string>;

SocketAddress at(const char* text) { return SocketAddress::parse(text).value(); }

Settings settings_from(Environment environment) {
  environment.emplace("XDS_ADDRESS", "");
  environment.emplace("MANIFEST_DIR", "/state");
  auto settings = load_settings(environment, 4);
  INFO((settings ? "" : settings.error().message()));
  REQUIRE(settings);
  return *settings;
}

model::SnapshotPtr mesh_of(model::MeshObjects objects) {
  model::SnapshotEditor editor;
  editor.replace("test", std::move(objects));
  return editor.commit();
}

dump::Contents contents_of(model::MeshObjects objects) {
  return {mesh_of(std::move(objects)),
          std::make_shared<const model::MeshObjects>(),
          {.version = "1", .git_revision = "abc"},
          {},
          {}};
}

std::string text_of(const dump::Contents& contents, const Settings& settings) {
  ManualLoop loop;
  return loop.run(dump::config_dump(loop, settings, contents));
}
Json dumped(const dump::Contents& contents, const Settings& settings) { return Json::parse(text_of(contents, settings)); }
Json dumped(const dump::Contents& contents) { return dumped(contents, settings_from({})); }

std::set<std::string> keys(const Json& object) {
  std::set<std::string> names;
  for (const auto& [name, value] : object.items()) names.insert(name);
  return names;
}

model::Workload full_workload() {
  model::Workload w;
  w.uid = "c1//Pod/shop/web-0";
  w.name = "web-0";
  w.namespace_name = "shop";
  w.network = "n1";
  w.addresses = {IpAddress::parse("10.1.0.7").value(), IpAddress::parse("fd00::7").value()};
  w.protocol = model::TunnelProtocol::kHbone;
  w.network_mode = model::NetworkMode::kHostNetwork;
  w.trust_domain = "cluster.local";
  w.service_account = "web";
  w.node = "node-a";
  w.cluster_id = "c1";
  w.canonical_name = "web";
  w.canonical_revision = "v1";
  w.workload_name = "web";
  w.hostname = "web.example";
  w.native_tunnel = true;
  w.application_tunnel = model::ApplicationTunnel{true, 9000};
  w.waypoint = model::GatewayAddress{model::NetworkAddress{"", IpAddress::parse("10.2.0.1").value()}, 15008};
  w.network_gateway = model::GatewayAddress{model::NamespacedHostname{"gw", "gw.example"}, 15443};
  w.authorization_policies = {"shop/only-front"};
  w.status = model::HealthStatus::kUnhealthy;
  w.locality = {"r", "z", "s"};
  w.capacity = 3;
  w.services = {{"shop/web.shop.svc.cluster.local", {{80, 8080}}}, {"shop/unknown.example", {{81, 8081}}}};
  return w;
}

model::Service full_service() {
  model::Service s;
  s.name = "web";
  s.namespace_name = "shop";
  s.hostname = "web.shop.svc.cluster.local";
  s.vips = {{"", IpAddress::parse("10.96.4.4").value()}};
  s.cidr_vips = {{"n1", Cidr::parse("10.97.0.0/16").value()}};
  s.ports = {{80, 8080}, {443, 0}};
  s.subject_alt_names = {"spiffe://cluster.local/ns/shop/sa/web"};
  s.waypoint = model::GatewayAddress{model::NamespacedHostname{"shop", "wp.example"}, 15008};
  s.weighted_waypoints = {{*s.waypoint, 20}};
  s.load_balancing = model::LoadBalancing{{model::LocalityScope::kNetwork, model::LocalityScope::kNode},
                                          model::LoadBalancingMode::kFailover,
                                          model::HealthPolicy::kAllowAll};
  s.ip_families = model::IpFamilies::kDual;
  s.canonical = true;
  s.visibility = model::Visibility::kNamespace;
  return s;
}

model::Policy full_policy() {
  using Kind = model::StringMatch::Kind;
  model::Match match;
  match.namespaces = {{Kind::kExact, "front"}};
  match.not_namespaces = {{Kind::kPrefix, "test-"}};
  match.principals = {{Kind::kSuffix, "/sa/x"}};
  match.not_principals = {{Kind::kPresence, ""}};
  match.service_accounts = {{"front", "f"}};
  match.not_service_accounts = {{"front", "g"}};
  match.source_ips = match.destination_ips = {Cidr::parse("10.0.0.0/8").value()};
  match.not_source_ips = match.not_destination_ips = {Cidr::parse("fd00::1").value()};
  match.destination_ports = {8080};
  match.not_destination_ports = {22};
  model::Policy p;
  p.name = "only-front";
  p.namespace_name = "shop";
  p.scope = model::PolicyScope::kWorkloadSelector;
  p.action = model::PolicyAction::kDeny;
  p.rules = {{{match}}};
  p.dry_run = true;
  return p;
}

// One identity with a certificate, one without, as a manager holds them.
struct Certificates {
  class Source final : public certs::CertificateSource {
   public:
    explicit Source(WallTime now) : authority(now) {}
    Task<Result<certs::CredentialsPtr>> fetch(model::Identity identity, std::uint64_t generation, StopToken) override {
      if (identity.service_account == "refused") co_return fail(ErrorCode::kUnavailable, "no route");
      co_return authority.credentials(identity.to_string(), generation);
    }
    tls::TestAuthority authority;
  };

  Certificates() : source(loop.clock().wall()), manager(loop, source) {
    for (const char* account : {"web", "refused"})
      manager.request({"cluster.local", "shop", account}, certs::Priority::kWarmup);
    loop.run_until_idle();
  }
  ~Certificates() { loop.run(manager.stop()); }

  ManualLoop loop;
  Source source;
  certs::SecretManager manager;
};

}  // namespace

TEST_CASE("a workload is shown with upstream's keys, what is default left out") {
  const Json shown = dumped(contents_of({.workloads = {full_workload()}}))["workloads"][0];
  CHECK(shown == Json::parse(R"({
    "workloadIps": ["10.1.0.7", "fd00::7"],
    "waypoint": {"destination": "/10.2.0.1", "hboneMtlsPort": 15008},
    "networkGateway": {"destination": "gw/gw.example", "hboneMtlsPort": 15443},
    "protocol": "HBONE", "networkMode": "HostNetwork", "uid": "c1//Pod/shop/web-0", "name": "web-0", "namespace": "shop",
    "trustDomain": "cluster.local", "serviceAccount": "web", "network": "n1", "workloadName": "web",
    "workloadType": "deployment", "canonicalName": "web", "canonicalRevision": "v1", "hostname": "web.example",
    "node": "node-a", "nativeTunnel": true, "applicationTunnel": {"protocol": "PROXY", "port": 9000},
    "authorizationPolicies": ["shop/only-front"], "status": "Unhealthy", "clusterId": "c1",
    "locality": {"region": "r", "zone": "z", "subzone": "s"},
    "services": ["shop/unknown.example", "shop/web.shop.svc.cluster.local"], "capacity": 3})"));
  model::Workload bare;
  bare.uid = "x";
  CHECK(keys(dumped(contents_of({.workloads = {bare}}))["workloads"][0]) ==
        std::set<std::string>{"workloadIps", "protocol", "networkMode", "uid", "name", "namespace", "workloadType", "status",
                              "clusterId", "capacity"});
}

TEST_CASE("a service is shown with its endpoints, an undescribed one is staged") {
  const Json json = dumped(contents_of({.workloads = {full_workload()}, .services = {full_service()}}));
  CHECK(json["services"][0] == Json::parse(R"({
    "name": "web", "namespace": "shop", "hostname": "web.shop.svc.cluster.local", "vips": ["/10.96.4.4"],
    "cidrVips": [{"network": "n1", "cidr": "10.97.0.0/16"}], "ports": {"80": 8080, "443": 0},
    "endpoints": {"c1//Pod/shop/web-0": {"workloadUid": "c1//Pod/shop/web-0", "port": {"80": 8080}, "status": "Unhealthy"}},
    "subjectAltNames": ["spiffe://cluster.local/ns/shop/sa/web"],
    "waypoint": {"destination": "shop/wp.example", "hboneMtlsPort": 15008},
    "weightedWaypoints": [{"destination": {"destination": "shop/wp.example", "hboneMtlsPort": 15008}, "weight": 20}],
    "loadBalancer": {"routingPreferences": ["Network", "Node"], "mode": "Failover", "healthPolicy": "AllowAll"},
    "ipFamilies": "Dual", "canonical": true, "visibility": "Namespace"})"));
  CHECK(json["stagedServices"] == Json::parse(R"({"shop/unknown.example": {"c1//Pod/shop/web-0":
    {"workloadUid": "c1//Pod/shop/web-0", "port": {"81": 8081}, "status": "Unhealthy"}}})"));
  model::Service other = full_service();
  other.namespace_name = "zoo";
  other.hostname = "a.example";
  const Json sorted = dumped(contents_of({.services = {full_service(), other}}))["services"];
  CHECK(sorted[0]["hostname"] == "a.example");
}

TEST_CASE("a policy is shown rule by rule, with every kind of match") {
  const Json json = dumped(contents_of({.policies = {full_policy()}}));
  CHECK(json["policies"][0] == Json::parse(R"({
    "name": "only-front", "namespace": "shop", "scope": "WorkloadSelector", "action": "Deny", "rules": [[[{
      "namespaces": [{"Exact": "front"}], "notNamespaces": [{"Prefix": "test-"}],
      "serviceAccounts": [{"namespace": "front", "serviceAccount": "f"}],
      "notServiceAccounts": [{"namespace": "front", "serviceAccount": "g"}],
      "principals": [{"Suffix": "/sa/x"}], "notPrincipals": [{"Presence": []}],
      "sourceIps": ["10.0.0.0/8"], "notSourceIps": ["fd00::1/128"],
      "destinationIps": ["10.0.0.0/8"], "notDestinationIps": ["fd00::1/128"],
      "destinationPorts": [8080], "notDestinationPorts": [22]}]]], "dryRun": true})"));
}

TEST_CASE("the local configuration is shown as it is now, or why it cannot be read") {
  auto contents = contents_of({});
  contents.local_config = std::make_shared<const model::MeshObjects>(
      model::MeshObjects{.workloads = {full_workload()}, .policies = {full_policy()}});
  Json shown = dumped(contents)["staticConfig"];
  CHECK(keys(shown) == std::set<std::string>{"workloads", "policies", "services"});
  CHECK(shown["workloads"][0]["name"] == "web-0");
  contents.local_config = fail(ErrorCode::kInvalidArgument, "line 3: no");
  shown = dumped(contents)["staticConfig"];
  CHECK(shown["error"] == "line 3: no");
  CHECK(shown["workloads"].empty());
}

TEST_CASE("the settings in force are shown with every key of upstream") {
  const Json config = dumped(contents_of({}), settings_from({{"NODE_NAME", "node-a"},
                                                             {"POD_NAME", "zt"},
                                                             {"POD_NAMESPACE", "istio-system"},
                                                             {"SERVICE_ACCOUNT", "ztunnel"},
                                                             {"ENABLE_ORIG_SRC", "true"},
                                                             {"POOL_UNUSED_RELEASE_TIMEOUT", "1m1ms"},
                                                             {"ISTIO_META_FOO", "bar"}}))["config"];
  const auto have = keys(config);
  for (const char* key : {"proxy",
                          "dnsProxy",
                          "windowSize",
                          "connectionWindowSize",
                          "frameSize",
                          "poolMaxStreamsPerConn",
                          "poolUnusedReleaseTimeout",
                          "socks5Addr",
                          "adminAddr",
                          "statsAddr",
                          "readinessAddr",
                          "inboundAddr",
                          "inboundPlaintextAddr",
                          "outboundAddr",
                          "dnsProxyAddr",
                          "illegalPorts",
                          "network",
                          "localNode",
                          "proxyMode",
                          "proxyWorkloadInformation",
                          "clusterId",
                          "clusterDomain",
                          "caAddress",
                          "caRootCert",
                          "altCaHostname",
                          "xdsAddress",
                          "xdsRootCert",
                          "altXdsHostname",
                          "preferedServiceNamespace",
                          "secretTtl",
                          "xdsOnDemand",
                          "fakeCa",
                          "fakeSelfInbound",
                          "selfTerminationDeadline",
                          "proxyMetadata",
                          "numWorkerThreads",
                          "requireOriginalSource",
                          "proxyArgs",
                          "dnsResolverCfg",
                          "dnsResolverOpts",
                          "inpodUds",
                          "inpodPortReuse",
                          "packetMark",
                          "socketConfig",
                          "xdsHeaders",
                          "caHeaders",
                          "localhostAppTunnel",
                          "ztunnelIdentity",
                          "ztunnelWorkload",
                          "ipv6Enabled",
                          "crlPath",
                          "enableEnhancedBaggage"}) {
    INFO(key);
    CHECK(have.contains(key));
  }
  CHECK(config["poolUnusedReleaseTimeout"] == Json::parse(R"({"secs": 60, "nanos": 1000000})"));
  CHECK(config["socketConfig"] == Json::parse(R"({"keepaliveEnabled": true, "keepaliveInterval": {"secs": 180, "nanos": 0},
    "keepaliveRetries": 9, "keepaliveTime": {"secs": 180, "nanos": 0}, "userTimeoutEnabled": false})"));
  CHECK(config["adminAddr"] == Json::parse(R"({"Localhost": [true, 15000]})"));
  CHECK(config["statsAddr"] == Json::parse(R"({"SocketAddr": "[::]:15020"})"));
  CHECK(config["inboundAddr"] == "[::]:15008");
  CHECK(config["localNode"] == "node-a");
  CHECK(config["altCaHostname"].is_null());
  CHECK(config["requireOriginalSource"] == true);
  CHECK(config["packetMark"] == 1337);
  CHECK(config["caRootCert"] == Json::parse(R"({"File": "./var/run/secrets/istio/root-cert.pem"})"));
  CHECK(config["proxyMetadata"] == Json::parse(R"({"FOO": "bar"})"));
  CHECK(config["ztunnelIdentity"] == "spiffe://cluster.local/ns/istio-system/sa/ztunnel");
  CHECK(config["weft"]["manifestDir"] == "/state");
}

TEST_CASE("certificates are shown with state, chain and roots") {
  Certificates held;
  auto contents = contents_of({});
  contents.certificates = held.manager.entries();
  const Json shown = dumped(contents)["certificates"];
  REQUIRE(shown.size() == 2);
  CHECK(shown[0] ==
        Json::parse(R"({"identity": "spiffe://cluster.local/ns/shop/sa/refused", "state": "Unavailable: no route",
    "certChain": [], "rootCerts": []})"));
  CHECK(shown[1]["identity"] == "spiffe://cluster.local/ns/shop/sa/web");
  CHECK(shown[1]["state"] == "Available");
  const auto credentials = contents.certificates[1].secret->current()->credentials;
  const Json leaf = shown[1]["certChain"][0];
  CHECK(leaf["pem"] == base64(credentials->leaf().to_pem()));
  CHECK(leaf["serialNumber"] == credentials->leaf().serial());
  CHECK(leaf["validFrom"] == format_rfc3339(credentials->not_before()));
  CHECK(leaf["expirationTime"] == format_rfc3339(credentials->not_after()));
  CHECK(shown[1]["rootCerts"].size() == 1);
}

TEST_CASE("a dedicated proxy shows whom it serves, and no pods") {
  const auto contents = contents_of({});
  const Json shared = dumped(contents)["config"];
  CHECK(shared["proxyMode"] == "Shared");
  CHECK(shared["proxyWorkloadInformation"].is_null());
  CHECK(shared["packetMark"] == 1337);
  const Json dump =
      dumped(contents, settings_from({{"PROXY_MODE", "dedicated"}, {"PROXY_WORKLOAD_INFO", "shop/web-0/web"}}));
  CHECK(!dump.contains("workloadState"));
  CHECK(dump["config"]["proxyMode"] == "Dedicated");
  CHECK(dump["config"]["proxyWorkloadInformation"] ==
        Json::parse(R"({"name": "web-0", "namespace": "shop", "serviceAccount": "web"})"));
  CHECK(dump["config"]["packetMark"].is_null());
}

TEST_CASE("pods are shown with their live connections, pending ones without") {
  auto contents = contents_of({});
  contents.pods = {
      {{"uid-1", "web-0", "shop", "web"},
       true,
       {{at("10.1.0.9:40112"), {}, "web.shop.svc.cluster.local", at("10.1.0.7:8080"), ConnectionProtocol::kHbone},
        {at("10.1.0.9:40113"), {}, "", at("10.1.0.7:8080"), ConnectionProtocol::kTcp}},
       {{at("10.1.0.7:3000"), at("10.96.0.1:80"), "", at("10.1.0.9:15008"), ConnectionProtocol::kHbone}}},
      {{"uid-2", "late-0", "shop", "late"}, false, {}, {}}};
  CHECK(dumped(contents)["workloadState"] == Json::parse(R"({
    "uid-1": {"state": "Up", "connections": {
      "inbound": [{"src": "10.1.0.9:40112", "originalDst": "web.shop.svc.cluster.local", "actualDst": "10.1.0.7:8080",
                   "protocol": "HBONE"},
                  {"src": "10.1.0.9:40113", "originalDst": null, "actualDst": "10.1.0.7:8080", "protocol": "TCP"}],
      "outbound": [{"src": "10.1.0.7:3000", "originalDst": "10.96.0.1:80", "actualDst": "10.1.0.9:15008", "protocol": "HBONE"}]},
      "info": {"name": "web-0", "namespace": "shop", "serviceAccount": "web"}},
    "uid-2": {"state": "Pending", "info": {"name": "late-0", "namespace": "shop", "serviceAccount": "late"}}})"));
}

TEST_CASE("no secret is in the dump") {
  Certificates held;
  auto contents = contents_of({});
  contents.certificates = held.manager.entries();
  const auto settings = settings_from({{"AUTH_TOKEN", "token-of-ours"},
                                       {"CA_HEADER_authorization", "header-of-ours"},
                                       {"XDS_HEADER_authorization", "other-header-of-ours"},
                                       {"MANIFEST_DIR", ""},
                                       {"LOCAL_XDS", "workloads: []  # comment-of-ours"}});
  const std::string text = text_of(contents, settings);
  const std::string key = contents.certificates[1].secret->current()->credentials->key().to_pem();
  for (const std::string& secret : {std::string("of-ours"), std::string("PRIVATE KEY"), base64(key),
                                    base64("-----BEGIN PRIVATE KEY"), key.substr(key.find('\n') + 1, 40)}) {
    INFO(secret);
    CHECK(text.find(secret) == text.npos);
  }
  CHECK(Json::parse(text)["config"]["caHeaders"] == Json::parse(R"([["authorization", "<not shown>"]])"));
}

TEST_CASE("the same contents give the same text, and texts that are no UTF-8 are repaired") {
  auto workload = full_workload();
  workload.name = "\xff";
  const auto contents = contents_of({.workloads = {workload}, .services = {full_service()}, .policies = {full_policy()}});
  const auto settings = settings_from({});
  const auto text = text_of(contents, settings);
  CHECK(text == text_of(contents, settings));
  CHECK(text.ends_with("}\n"));
  CHECK(Json::parse(text)["workloads"][0]["name"] == "\xef\xbf\xbd");
}

TEST_CASE("keys of a dump of upstream's are keys of ours") {
  const char* shared = std::getenv("WEFT_SHARED");
  const auto path = std::filesystem::path(shared ? shared : "../shared") / "fixtures/node-config-dump/dump.json";
  if (!std::filesystem::is_regular_file(path)) SKIP("the example dump is not here");
  std::ifstream file(path);
  const Json theirs = Json::parse(file);

  Certificates held;
  auto contents = contents_of({.workloads = {full_workload()}, .services = {full_service()}, .policies = {full_policy()}});
  contents.certificates = held.manager.entries();
  contents.pods = {{{"uid-1", "web-0", "shop", "web"}, true, std::vector<ConnectionRow>(1), std::vector<ConnectionRow>(1)}};
  const Json ours = dumped(contents);
  // The example is older: endpoints had `service` and `address`, waypoints `port`.
  const auto check = [](const Json& example, const Json& have) {
    for (const auto& key : keys(example)) {
      INFO(key);
      CHECK((have.contains(key) || key == "service" || key == "address" || key == "port"));
    }
  };
  check(theirs, ours);
  for (const auto& workload : theirs["workloads"]) {
    check(workload, ours["workloads"][0]);
    if (workload.contains("waypoint")) check(workload["waypoint"], ours["workloads"][0]["waypoint"]);
  }
  for (const auto& service : theirs["services"]) {
    check(service, ours["services"][0]);
    for (const auto& endpoint : service["endpoints"]) check(endpoint, *ours["services"][0]["endpoints"].begin());
  }
  for (const auto& policy : theirs["policies"]) check(policy, ours["policies"][0]);
  for (const auto& certificate : theirs["certificates"]) {
    check(certificate, ours["certificates"][1]);
    for (const auto& link : certificate["certChain"]) check(link, ours["certificates"][1]["certChain"][0]);
  }
  const Json& pod = ours["workloadState"]["uid-1"];
  for (const auto& state : theirs["workloadState"]) {
    check(state, pod);
    check(state["info"], pod["info"]);
    for (const char* direction : {"inbound", "outbound"}) {
      for (const auto& row : state["connections"][direction]) check(row, pod["connections"][direction][0]);
    }
  }
}
