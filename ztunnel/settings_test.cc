#include "ztunnel/settings.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>

#include "lib/tls/context.h"
#include "ztunnel/proxy_config.h"
#include "ztunnel/setting_reader.h"
#include "ztunnel/setting_table.h"
#include "ztunnel/settings_reference.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;

namespace {

constexpr unsigned kCpus = 16;

// What every start needs, and `changes` to it; a value of "-" takes the variable away.
Environment with(const Environment& changes) {
  Environment environment = {{"XDS_ADDRESS", ""}, {"MANIFEST_DIR", "/state"}};
  for (const auto& [name, value] : changes) {
    if (value == "-")
      environment.erase(name);
    else
      environment[name] = value;
  }
  return environment;
}

Settings good(const Environment& changes, const std::optional<std::string>& mesh_config = std::nullopt) {
  auto settings = load_settings(with(changes), kCpus, mesh_config);
  INFO((settings ? "" : settings.error().message()));
  REQUIRE(settings);
  return *settings;
}

std::vector<std::string> problems(const Environment& changes, const std::optional<std::string>& mesh_config = std::nullopt) {
  auto settings = load_settings(with(changes), kCpus, mesh_config);
  if (settings) return {};
  CHECK(settings.error().code() == ErrorCode::kInvalidArgument);
  std::vector<std::string> lines;
  std::string_view text = settings.error().message();
  while (!text.empty()) {
    const auto end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text = end == text.npos ? "" : text.substr(end + 1);
  }
  return lines;
}

}  // namespace

TEST_CASE("unset variables have upstream's defaults") {
  const auto s = good({});
  CHECK(s.node_name.empty());
  CHECK(s.network.empty());
  CHECK(s.cluster_domain == "cluster.local");
  CHECK(s.cluster_id == "Kubernetes");
  CHECK(s.istio_version == "unknown");
  CHECK(s.trust_domain == "cluster.local");
  CHECK(s.instance_ip == "1.1.1.1");
  CHECK(!s.has_own_identity());
  CHECK(s.ca_address == "https://localhost:15012");
  CHECK(s.ca_root_ca == "./var/run/secrets/istio/root-cert.pem");
  CHECK(s.auth_token == kDefaultAuthTokenPath);
  CHECK(s.secret_ttl == 24h);
  CHECK(s.pool_max_streams == 100);
  CHECK(s.pool_unused_release_timeout == 5min);
  CHECK(s.http2_stream_window == 4u << 20);
  CHECK(s.http2_connection_window == 16u << 20);
  CHECK(s.http2_frame_size == 1u << 20);
  CHECK(s.termination_deadline == 5s);
  CHECK(s.original_source == OriginalSource::kIfPossible);
  CHECK(s.inpod_uds == "/var/run/ztunnel/ztunnel.sock");
  CHECK(s.inpod_port_reuse);
  CHECK(s.packet_mark == 1337);
  REQUIRE(s.keepalive);
  CHECK(s.keepalive->time == 180s);
  CHECK(s.keepalive->interval == 180s);
  CHECK(s.keepalive->retries == 9);
  CHECK(!s.keepalive->user_timeout);
  CHECK(s.localhost_app_tunnel);
  CHECK(s.response_baggage);
  CHECK(s.ipv6_enabled);
  CHECK(!s.policy_info_logging);
  CHECK(!s.post_quantum_only);
  CHECK(!s.tls12_enabled);
  CHECK(s.admin_port == 15000);
  CHECK(s.stats_port == 15020);
  CHECK(s.worker_threads == 4);
  CHECK(s.engine.choice == runtime::EngineChoice::kAuto);
  CHECK(s.engine.defer_taskrun);
  CHECK(s.engine.limited_multishot);
  CHECK(s.engine.spin == 0s);
  CHECK(s.log_filter == "hickory_server::server=off,info");
  CHECK(!s.log_json);
}

TEST_CASE("set variables are read") {
  const auto s = good({{"NODE_NAME", "node-a"},
                       {"NETWORK", "n1"},
                       {"CLUSTER_DOMAIN", "mesh.test"},
                       {"CLUSTER_ID", "c1"},
                       {"POD_NAME", "zt-1"},
                       {"POD_NAMESPACE", "istio-system"},
                       {"SERVICE_ACCOUNT", "ztunnel"},
                       {"CA_ADDRESS", "10.0.0.1:15012"},
                       {"CA_ROOT_CA", "SYSTEM"},
                       {"ALT_CA_HOSTNAME", "ca.test"},
                       {"AUTH_TOKEN", "bench"},
                       {"SECRET_TTL", "90s"},
                       {"CA_HEADER_X-Tenant", "blue"},
                       {"POOL_MAX_STREAMS_PER_CONNECTION", "7"},
                       {"HTTP2_FRAME_SIZE", "16384"},
                       {"ENABLE_ORIG_SRC", "true"},
                       {"PACKET_MARK", "0"},
                       {"KEEPALIVE_TIME", "1m"},
                       {"USER_TIMEOUT_ENABLED", "true"},
                       {"TLS12_ENABLED", "true"},
                       {"IPV6_ENABLED", "false"},
                       {"ZTUNNEL_WORKER_THREADS", "50%"},
                       {"WEFT_ENGINE", "epoll"},
                       {"WEFT_URING_FEATURES", "none"},
                       {"WEFT_SPIN", "50us"},
                       {"RUST_LOG", "debug"},
                       {"LOG_FORMAT", "json"},
                       {"AUTHZ_POLICY_INFO_LOGGING", "true"},
                       {"ISTIO_META_DNS_CAPTURE", "true"},
                       {"INPOD_ENABLED", "true"}});
  CHECK(s.node_name == "node-a");
  CHECK(s.network == "n1");
  CHECK(s.cluster_domain == "mesh.test");
  CHECK(s.cluster_id == "c1");
  CHECK(s.has_own_identity());
  CHECK(s.ca_address == "https://10.0.0.1:15012");
  CHECK(s.ca_root_ca == "SYSTEM");
  CHECK(s.alt_ca_hostname == "ca.test");
  CHECK(s.auth_token == "bench");
  CHECK(s.secret_ttl == 90s);
  CHECK(s.ca_headers == std::vector<std::pair<std::string, std::string>>{{"x-tenant", "blue"}});
  CHECK(s.pool_max_streams == 7);
  CHECK(s.http2_frame_size == 16'384);
  CHECK(s.original_source == OriginalSource::kRequired);
  CHECK(s.packet_mark == 0);
  CHECK(s.keepalive->time == 60s);
  CHECK(s.keepalive->user_timeout);
  CHECK(s.tls12_enabled);
  CHECK(!s.ipv6_enabled);
  CHECK(s.worker_threads == 8);
  CHECK(s.engine.choice == runtime::EngineChoice::kEpoll);
  CHECK(!s.engine.defer_taskrun);
  CHECK(s.engine.spin == 50us);
  CHECK(s.log_filter == "hickory_server::server=off,debug");
  CHECK(s.log_json);
  CHECK(s.policy_info_logging);
  CHECK(s.proxy_metadata.at("DNS_CAPTURE") == "true");
  CHECK(good({{"KEEPALIVE_ENABLED", "false"}}).keepalive == std::nullopt);
  CHECK(good({{"L7_DENY_AT_L4", "deny"}}).l7_deny_at_l4);
  CHECK(!good({{"L7_DENY_AT_L4", "ignore"}}).l7_deny_at_l4);
  CHECK(!good({}).l7_deny_at_l4);
  CHECK(good({}).root_namespace == "istio-system");
  CHECK(good({{"ROOT_NAMESPACE", "mesh"}}).root_namespace == "mesh");
  CHECK(good({}).enablement.size() == translate::default_enablement_selectors().size());
  CHECK(good({{"AMBIENT_ENABLEMENT_SELECTOR", "[{podSelector: {matchLabels: {mesh: on}}}]"}})
            .enablement.at(0)
            .pod.matches({{"mesh", "on"}}));
  CHECK(good({{"AMBIENT_ENABLEMENT_SELECTOR", "[]"}}).enablement.empty());
  CHECK(good({}).excluded_namespaces.empty());
  CHECK(good({{"EXCLUDE_NAMESPACES", "kube-system, b,"}}).excluded_namespaces == std::set<std::string>{"b", "kube-system"});
  CHECK(good({{"ENABLE_ORIG_SRC", "false"}}).original_source == OriginalSource::kNever);
  CHECK(good({{"ISTIO_META_CLUSTER_ID", "c2"}, {"CLUSTER_ID", "c1"}}).cluster_id == "c2");
  CHECK(good({{"KUBERNETES_SERVICE_HOST", "10.96.0.1"}}).ca_address == "https://istiod.istio-system.svc:15012");
}

TEST_CASE("a bad value is refused with its name, value and reason") {
  struct Row {
    const char *name, *value, *reason;
  };
  for (const auto& row : {
           Row{"ENABLE_PROXY", "yes", "must be true or false"},
           Row{"ENABLE_PROXY", "false", "ztunnel run without any servers enabled"},
           Row{"PROXY_MODE", "Shared", "must be shared or dedicated"},
           Row{"L7_DENY_AT_L4", "yes", "must be ignore or deny"},
           Row{"ROOT_NAMESPACE", "", "must not be empty"},
           Row{"AMBIENT_ENABLEMENT_SELECTOR", "[{pods: {}}]", "unknown field pods"},
           Row{"AMBIENT_ENABLEMENT_SELECTOR", "{a: b}", "is no list"},
           Row{"XDS_ADDRESS", "https://istiod:15012", "set XDS_ADDRESS to the empty string"},
           Row{"XDS_ON_DEMAND", "true", "no xDS client"},
           Row{"CA_ADDRESS", "", "without an authority"},
           Row{"CA_ADDRESS", "http://ca:1", "only https"},
           Row{"CA_ADDRESS", "https://ca:0", "no port"},
           Row{"CA_ADDRESS", "https://ca:65536", "no port"},
           Row{"CA_ADDRESS", "https://ca:", "no port"},
           Row{"CA_ADDRESS", "https://:1", "must be https://HOST:PORT"},
           Row{"CA_ADDRESS", "https://[10.0.0.1]:1", "not an IPv6 address"},
           Row{"CA_ADDRESS", "https://fd00::1:1", "must be https://HOST:PORT"},
           Row{"CA_ADDRESS", "https://ca:1/path", "no port"},
           Row{"SECRET_TTL", "0s", "must be from 1s"},
           Row{"SECRET_TTL", "24", "must be a duration"},
           Row{"FAKE_CA", "true", "no fake authority"},
           Row{"CRL_PATH", "/crl.pem", "not built yet"},
           Row{"UNSTABLE_ENABLE_SOCKS5", "true", "not built yet"},
           Row{"POOL_MAX_STREAMS_PER_CONNECTION", "0", "from 1 to 65535"},
           Row{"POOL_MAX_STREAMS_PER_CONNECTION", "65536", "from 1 to 65535"},
           Row{"POOL_MAX_STREAMS_PER_CONNECTION", "", "a whole number"},
           Row{"HTTP2_STREAM_WINDOW_SIZE", "2147483648", "to 2147483647"},
           Row{"HTTP2_CONNECTION_WINDOW_SIZE", "65534", "from 65535"},
           Row{"HTTP2_FRAME_SIZE", "16383", "from 16384"},
           Row{"HTTP2_FRAME_SIZE", "16777216", "to 16777215"},
           Row{"PACKET_MARK", "-1", "from 0"},
           Row{"PACKET_MARK", "0x539", "a whole number"},
           Row{"KEEPALIVE_RETRIES", "128", "to 127"},
           Row{"KEEPALIVE_TIME", "500ms", "from 1s"},
           Row{"TERMINATION_GRACE_PERIOD_SECONDS", "10s", "a whole number"},
           Row{"CONNECTION_TERMINATION_DEADLINE", "-1s", "must be a duration"},
           Row{"ENABLE_ORIG_SRC", "", "must be true or false"},
           Row{"ZTUNNEL_WORKER_THREADS", "0%", "1% to 100%"},
           Row{"ZTUNNEL_RESOURCE_CPU_LIMIT", "0", "above zero"},
           Row{"ZTUNNEL_RESOURCE_CPU_REQUEST", "1Gi", "quantity"},
           Row{"ZTUNNEL_CPU_LIMIT", "1.5", "not a number"},
           Row{"WEFT_ENGINE", "kqueue", "kqueue"},
           Row{"WEFT_URING_FEATURES", "warp", "unknown io_uring feature"},
           Row{"WEFT_SPIN", "2s", "to 1s"},
           Row{"TRUST_DOMAIN", "", "must not be empty"},
           Row{"PROXY_CONFIG", "{statsPort: 70000}", "statsPort"},
           Row{"PROXY_CONFIG", "{", "line 1"},
           Row{"PROXY_CONFIG", "text", "not a map"},
       }) {
    INFO(row.name << "=" << row.value);
    const auto lines = problems({{row.name, row.value}});
    REQUIRE(lines.size() == 1);
    INFO(lines[0]);
    CHECK(lines[0].starts_with("invalid env var " + std::string(row.name) + "=" + row.value + " ("));
    CHECK(lines[0].find(row.reason) != std::string::npos);
  }
}

TEST_CASE("dedicated mode names its one workload and marks nothing unless told to") {
  const auto s = good({{"PROXY_MODE", "dedicated"}, {"PROXY_WORKLOAD_INFO", "shop/web-0/web"}});
  CHECK(s.mode == ProxyMode::kDedicated);
  CHECK(s.workload.namespace_name == "shop");
  CHECK(s.workload.name == "web-0");
  CHECK(s.workload.service_account == "web");
  CHECK(s.packet_mark == 0);
  CHECK(good({{"PROXY_MODE", "dedicated"}, {"PROXY_WORKLOAD_INFO", "a/b/c"}, {"PACKET_MARK", "1337"}}).packet_mark == 1337);
  // No other pod is there to be kept a part for.
  const Environment dedicated = {{"PROXY_MODE", "dedicated"}, {"PROXY_WORKLOAD_INFO", "a/b/c"}};
  CHECK(good({}).pod_descriptors == 25);
  CHECK(good(dedicated).pod_descriptors == 100);
  auto halved = dedicated;
  halved["WEFT_POD_DESCRIPTORS"] = "50";
  CHECK(good(halved).pod_descriptors == 50);
  CHECK(good({{"PROXY_WORKLOAD_INFO", "not read in shared mode"}}).mode == ProxyMode::kShared);
  CHECK(problems({{"PROXY_MODE", "dedicated"}}).size() == 1);
  for (const char* bad : {"", "shop", "shop/web-0", "/web-0/web", "shop//web", "shop/web-0/", "shop/web-0/web/more", "//"}) {
    INFO(bad);
    const auto lines = problems({{"PROXY_MODE", "dedicated"}, {"PROXY_WORKLOAD_INFO", bad}});
    REQUIRE(lines.size() == 1);
    CHECK(lines[0] == std::string("invalid env var PROXY_WORKLOAD_INFO=") + bad +
                          " (dedicated mode needs namespace/name/service-account)");
  }
}

TEST_CASE("all bad settings are reported at once, one a line") {
  const auto lines = problems({{"PROXY_MODE", "single"},
                               {"SECRET_TTL", "soon"},
                               {"IPV6_ENABLED", "1"},
                               {"KEEPALIVE_ENABLED", "false"},
                               {"KEEPALIVE_TIME", "x"},
                               {"LOCAL_XDS", "a\nb"},
                               {"ZTUNNEL_CPU_LIMIT", "x"},
                               {"ZTUNNEL_RESOURCE_CPU_LIMIT", "y"},
                               {"CA_HEADER_a b", "v"},
                               {"CA_HEADER_key", "s3cret\n"}});
  CHECK(lines.size() == 9);
  for (const auto& line : lines) CHECK(line.find("s3cret") == std::string::npos);
  CHECK(problems({{"WEFT_ENGINE", "a\nb"}}).size() == 1);
}

TEST_CASE("without an xDS client the address must be set to empty, and the error says so") {
  auto lines = problems({{"XDS_ADDRESS", "-"}});
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].starts_with("env var XDS_ADDRESS is not set, which means https://istiod.istio-system.svc:15012"));
  CHECK(lines[0].find("MANIFEST_DIR or LOCAL_XDS_PATH") != std::string::npos);
  lines = problems({{"XDS_ADDRESS", "-"}, {"PROXY_CONFIG", "discoveryAddress: istiod.test:1"}});
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("istiod.test:1") != std::string::npos);
  CHECK(good({{"XDS_ADDRESS", "-"}, {"PROXY_CONFIG", "discoveryAddress: ''"}}).manifest_dir == "/state");
}

TEST_CASE("exactly one source describes the mesh") {
  CHECK(good({{"MANIFEST_DIR", "-"}, {"LOCAL_XDS_PATH", "/x.yaml"}}).local_xds_path == "/x.yaml");
  CHECK(good({{"MANIFEST_DIR", "-"}, {"LOCAL_XDS", "workloads: []"}}).local_xds == "workloads: []");
  CHECK(good({{"LOCAL_XDS_PATH", ""}}).manifest_dir == "/state");
  CHECK(problems({{"MANIFEST_DIR", "-"}}).size() == 1);
  CHECK(problems({{"LOCAL_XDS", "workloads: []"}}).size() == 1);
}

TEST_CASE("the shutdown deadline leaves some of the pod's grace period") {
  struct Row {
    Environment environment;
    Duration expected;
  };
  for (const auto& row :
       {Row{{}, 5s}, Row{{{"TERMINATION_GRACE_PERIOD_SECONDS", "30"}}, 25s},
        Row{{{"TERMINATION_GRACE_PERIOD_SECONDS", "11"}}, 6s}, Row{{{"TERMINATION_GRACE_PERIOD_SECONDS", "10"}}, 9s},
        Row{{{"TERMINATION_GRACE_PERIOD_SECONDS", "2"}}, 1s}, Row{{{"TERMINATION_GRACE_PERIOD_SECONDS", "1"}}, 1s},
        Row{{{"TERMINATION_GRACE_PERIOD_SECONDS", "0"}}, 1s},
        Row{{{"TERMINATION_GRACE_PERIOD_SECONDS", "30"}, {"CONNECTION_TERMINATION_DEADLINE", "0"}}, 0s},
        Row{{{"CONNECTION_TERMINATION_DEADLINE", "1m30s"}}, 90s}}) {
    CHECK(good(row.environment).termination_deadline == row.expected);
  }
}

TEST_CASE("durations are written as Go writes them") {
  struct Row {
    const char* text;
    Duration expected;
  };
  for (const auto& row :
       {Row{"0", 0s}, Row{"0s", 0s}, Row{"10s", 10s}, Row{"1h30m", 90min}, Row{"500ms", 500ms}, Row{"1.5h", 90min},
        Row{"0.25s", 250ms}, Row{"1m1s1ms1us1ns", 61'001'001'001ns}, Row{"3µs", 3us}, Row{"720h", 720h}}) {
    INFO(row.text);
    auto parsed = parse_duration(row.text);
    REQUIRE(parsed);
    CHECK(*parsed == row.expected);
  }
  for (const char* bad : {"", "10", "s", "-1s", "-0s", "+1s", "1 s", "1s ", "1d", "1h30", "1e3s", "infs", "nans", "0x1s",
                          "9999999h", "99999999999999999999h", "1s,2s"}) {
    INFO(bad);
    CHECK(!parse_duration(bad));
  }
}

TEST_CASE("the authority's address is brought into one form") {
  struct Row {
    const char *text, *address, *host;
  };
  for (const auto& row :
       {Row{"https://127.0.0.1:15012", "https://127.0.0.1:15012", "127.0.0.1"},
        Row{"istiod.istio-system.svc:15012", "https://istiod.istio-system.svc:15012", "istiod.istio-system.svc"},
        Row{"https://ca/", "https://ca:443", "ca"}, Row{"[fd00::1]:1", "https://[fd00::1]:1", "fd00::1"},
        Row{"https://[fd00::1]", "https://[fd00::1]:443", "fd00::1"}}) {
    const auto settings = good({{"CA_ADDRESS", row.text}});
    CHECK(settings.ca_address == row.address);
    CHECK(settings.ca_host == row.host);
  }
}

TEST_CASE("ProxyConfig comes from the mesh file, then from its variable, field by field") {
  const std::string mesh =
      "defaultConfig:\n  proxyAdminPort: 1500\n  statsPort: 1502\n  concurrency: 3\n  unknown: {a: [1]}\n"
      "  proxyMetadata: {ISTIO_META_A: file, B: file, C: file}\nother: 1\n";
  auto s =
      good({{"PROXY_CONFIG", R"({"statsPort": 1503, "proxyMetadata": {"B": "variable"}})"}, {"ISTIO_META_C", "meta"}}, mesh);
  CHECK(s.admin_port == 1500);
  CHECK(s.stats_port == 1503);
  CHECK(s.worker_threads == 3);
  CHECK(s.proxy_metadata == std::map<std::string, std::string>{{"A", "file"}, {"B", "variable"}, {"C", "meta"}});
  CHECK(good({{"PROXY_CONFIG", "concurrency: 0"}}, mesh).worker_threads == kCpus);
  CHECK(good({{"PROXY_CONFIG", ""}}, "").admin_port == 15000);
  CHECK(good({}, "defaultConfig: {}").proxy_metadata.empty());

  const auto lines = problems({}, "defaultConfig: {proxyAdminPort: x, statsPort: 0}");
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].starts_with("failed parsing mesh config file ./etc/istio/config/mesh: "));
  CHECK(lines[0].find("defaultConfig.proxyAdminPort") != std::string::npos);
  CHECK(lines[0].find("defaultConfig.statsPort") != std::string::npos);
  CHECK(problems({}, "defaultConfig: [").size() == 1);
}

TEST_CASE("post-quantum only is refused where OpenSSL cannot do it") {
  const auto settings = load_settings(with({{"COMPLIANCE_POLICY", "pqc"}}), kCpus);
  CHECK(settings.has_value() == tls::post_quantum_available());
  if (settings) CHECK(settings->post_quantum_only);
}

TEST_CASE("a request of no processors is as if there were none") {
  CHECK(good({{"ZTUNNEL_RESOURCE_CPU_REQUEST", "0"}, {"ZTUNNEL_RESOURCE_CPU_LIMIT", "2"}}).worker_threads == 2);
  CHECK(good({{"ZTUNNEL_RESOURCE_CPU_REQUEST", "3"}, {"ZTUNNEL_RESOURCE_CPU_LIMIT", "2"}}).worker_threads == 3);
}

TEST_CASE("every setting is declared once, with help and a usable default") {
  std::set<std::string_view> names;
  for (const auto& setting : setting_table()) {
    INFO(setting.name);
    CHECK(names.insert(setting.name).second);
    CHECK(setting.help.ends_with('.'));
    const Environment as_default = {{std::string(setting.name), std::string(setting.default_text)}};
    if (setting.default_text.empty() || setting.name == "XDS_ADDRESS") continue;
    CHECK(problems(as_default).empty());
  }
}

TEST_CASE("docs/settings.md is what the table says") {
  std::ifstream file(WEFT_SETTINGS_PAGE);
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  INFO("write it anew: build/ztunnel/ztunnel help settings > docs/settings.md");
  CHECK((page == settings_reference()));
}

TEST_CASE("what the dump shows of the settings is declared once, and no secret is among it") {
  std::set<std::string_view> keys;
  for (const auto& setting : setting_table()) {
    INFO(setting.name);
    if (!setting.config_key.empty()) CHECK(keys.insert(setting.config_key).second);
  }
  for (const char* name : {"AUTH_TOKEN", "CA_HEADER_", "XDS_HEADER_", "LOCAL_XDS", "PROXY_CONFIG", "CA_ROOT_CA"})
    CHECK(find_setting(name).config_key.empty());
  const auto shown =
      good({{"KEEPALIVE_RETRIES", "4"}, {"NODE_NAME", "n"}, {"SECRET_TTL", "90m"}, {"IPV6_ENABLED", "false"}}).shown;
  CHECK(shown.size() == keys.size());
  CHECK(shown.at("socketConfig.keepaliveRetries") == SettingValue(std::int64_t{4}));
  CHECK(shown.at("localNode") == SettingValue("n"));
  CHECK(shown.at("secretTtl") == SettingValue(Duration(90min)));
  CHECK(shown.at("ipv6Enabled") == SettingValue(false));
  CHECK(shown.at("windowSize") == SettingValue(std::int64_t{4} << 20));
  CHECK(shown.at("altCaHostname") == SettingValue());
}
