#include "ztunnel/settings.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>

#include "lib/base/ip.h"
#include "lib/runtime/worker_count.h"
#include "lib/tls/context.h"
#include "lib/translate/enrolment.h"
#include "ztunnel/proxy_config.h"
#include "ztunnel/setting_reader.h"

namespace weft::ztunnel {
namespace {

using namespace std::chrono_literals;

// Upstream silences a library of its own before anything else; who compares filters expects to find that.
constexpr std::string_view kLogFilterPrefix = "hickory_server::server=off,";
constexpr std::string_view kScheme = "https://";
// A ConfigMap of Kubernetes ends there.
constexpr std::size_t kMeshConfigBytesMax = 1u << 20;

std::uint32_t unsigned_number(SettingReader& reader, std::string_view name) {
  return static_cast<std::uint32_t>(reader.number(name));
}

ProxyConfig load_proxy_config(SettingReader& reader, const std::optional<std::string>& mesh_config) {
  ProxyConfig config;
  if (mesh_config) {
    auto parsed = parse_mesh_config(*mesh_config);
    if (parsed)
      config = std::move(*parsed);
    else
      reader.problem("failed parsing mesh config file " + std::string(kMeshConfigPath) + ": " + parsed.error().message());
  }
  const auto text = reader.text("PROXY_CONFIG");
  if (!text.empty()) {
    auto parsed = parse_proxy_config(text);
    if (parsed)
      config.merge(*parsed);
    else
      reader.reject("PROXY_CONFIG", parsed.error().message());
  }
  for (auto& [name, value] : reader.family("ISTIO_META_")) config.metadata[name] = value;
  return config;
}

void load_identity(SettingReader& reader, Settings& settings) {
  settings.node_name = reader.text("NODE_NAME");
  settings.network = reader.text("NETWORK");
  settings.cluster_domain = reader.text("CLUSTER_DOMAIN");
  settings.cluster_id = reader.given("ISTIO_META_CLUSTER_ID").value_or(reader.text("CLUSTER_ID"));
  settings.istio_version = reader.text("ISTIO_META_ISTIO_VERSION");
  settings.trust_domain = reader.text("TRUST_DOMAIN");
  settings.pod_name = reader.text("POD_NAME");
  settings.pod_namespace = reader.text("POD_NAMESPACE");
  settings.service_account = reader.text("SERVICE_ACCOUNT");
  settings.instance_ip = reader.text("INSTANCE_IP");
  if (settings.trust_domain.empty()) reader.reject("TRUST_DOMAIN", "must not be empty");
  if (settings.cluster_domain.empty()) reader.reject("CLUSTER_DOMAIN", "must not be empty");
}

// Kubernetes names have no slash.
std::optional<WorkloadName> parse_workload(std::string_view text) {
  const auto first = text.find('/'), second = text.find('/', first == text.npos ? first : first + 1);
  if (second == text.npos) return std::nullopt;
  WorkloadName workload{std::string(text.substr(0, first)), std::string(text.substr(first + 1, second - first - 1)),
                        std::string(text.substr(second + 1))};
  const auto good = [](const std::string& part) { return !part.empty() && part.find('/') == part.npos; };
  if (!good(workload.namespace_name) || !good(workload.name) || !good(workload.service_account)) return std::nullopt;
  return workload;
}

void load_mode(SettingReader& reader, Settings& settings) {
  const auto mode = reader.text("PROXY_MODE");
  if (mode == "shared") return;
  if (mode != "dedicated") return reader.reject("PROXY_MODE", "must be shared or dedicated");
  settings.mode = ProxyMode::kDedicated;
  if (auto workload = parse_workload(reader.text("PROXY_WORKLOAD_INFO")))
    settings.workload = std::move(*workload);
  else
    reader.reject("PROXY_WORKLOAD_INFO", "dedicated mode needs namespace/name/service-account");
}

// What upstream can do and we cannot yet is refused, never ignored: a mesh that lacks what was asked for is not safe.
void refuse_unbuilt(SettingReader& reader, const ProxyConfig& config) {
  if (!reader.boolean("ENABLE_PROXY")) reader.reject("ENABLE_PROXY", "ztunnel run without any servers enabled");
  if (reader.boolean("UNSTABLE_ENABLE_SOCKS5")) reader.reject("UNSTABLE_ENABLE_SOCKS5", "SOCKS5 is not built yet");
  if (reader.boolean("FAKE_CA")) reader.reject("FAKE_CA", "there is no fake authority in this build; set CA_ADDRESS");
  if (reader.boolean("XDS_ON_DEMAND")) reader.reject("XDS_ON_DEMAND", "there is no xDS client yet");
  if (!reader.text("CRL_PATH").empty()) reader.reject("CRL_PATH", "revocation lists are not built yet");

  std::string xds = reader.text("XDS_ADDRESS");
  if (!reader.is_set("XDS_ADDRESS")) xds = config.discovery_address.value_or(xds);
  if (xds.empty()) return;
  constexpr std::string_view kAdvice =
      "there is no xDS client yet; set XDS_ADDRESS to the empty string and describe the mesh by MANIFEST_DIR or "
      "LOCAL_XDS_PATH";
  if (reader.is_set("XDS_ADDRESS"))
    reader.reject("XDS_ADDRESS", kAdvice);
  else
    reader.problem("env var XDS_ADDRESS is not set, which means " + xds + " (" + std::string(kAdvice) + ")");
}

void load_mesh_source(SettingReader& reader, Settings& settings) {
  settings.local_xds_path = reader.text("LOCAL_XDS_PATH");
  settings.local_xds = reader.text("LOCAL_XDS");
  settings.manifest_dir = reader.text("MANIFEST_DIR");
  settings.root_namespace = reader.text("ROOT_NAMESPACE");
  if (settings.root_namespace.empty()) reader.reject("ROOT_NAMESPACE", "must not be empty");
  const auto l7_deny = reader.text("L7_DENY_AT_L4");
  settings.l7_deny_at_l4 = l7_deny == "deny";
  if (l7_deny != "deny" && l7_deny != "ignore") reader.reject("L7_DENY_AT_L4", "must be ignore or deny");
  settings.excluded_namespaces = translate::parse_namespaces(reader.text("EXCLUDE_NAMESPACES"));
  if (const auto yaml = reader.text("AMBIENT_ENABLEMENT_SELECTOR"); !yaml.empty()) {
    auto enablement = translate::parse_enablement(yaml);
    if (enablement)
      settings.enablement = std::move(*enablement);
    else
      reader.reject("AMBIENT_ENABLEMENT_SELECTOR", enablement.error().message());
  }
  const int sources = !settings.local_xds_path.empty() + !settings.local_xds.empty() + !settings.manifest_dir.empty();
  if (sources > 1) reader.problem("only one of MANIFEST_DIR, LOCAL_XDS_PATH and LOCAL_XDS may be set");
  if (sources == 0) reader.problem("nothing describes the mesh: set MANIFEST_DIR, LOCAL_XDS_PATH or LOCAL_XDS");
}

bool is_host_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_';
  });
}

// "https://host:port", "host:port", "host", "[fd00::1]:port".
Result<void> parse_authority_address(std::string_view text, Settings& settings) {
  const auto invalid = [](std::string_view reason) {
    return fail(ErrorCode::kInvalidArgument, "invalid uri: " + std::string(reason));
  };
  if (text.starts_with(kScheme))
    text.remove_prefix(kScheme.size());
  else if (text.find("://") != text.npos)
    return invalid("only https is spoken with the authority");
  if (text.ends_with('/')) text.remove_suffix(1);
  std::string_view host = text, port = "443";
  const auto colon = text.rfind(':');
  if (colon != text.npos && !text.ends_with(']')) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) {
    host = host.substr(1, host.size() - 2);
    const auto ip = IpAddress::parse(host);
    if (!ip || !ip->is_v6()) return invalid("not an IPv6 address in brackets");
  } else if (!is_host_name(host)) {
    return invalid("must be https://HOST:PORT");
  }
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), settings.ca_port);
  if (parsed.ec != std::errc() || parsed.ptr != port.data() + port.size() || settings.ca_port == 0) {
    return invalid("no port from 1 to 65535");
  }
  settings.ca_host = host;
  const auto shown = bracketed ? "[" + settings.ca_host + "]" : settings.ca_host;
  settings.ca_address = std::string(kScheme) + shown + ":" + std::to_string(settings.ca_port);
  return {};
}

// Names and values as gRPC metadata may have them. Values may be secrets and are not shown.
void load_headers(SettingReader& reader, std::string_view prefix,
                  std::vector<std::pair<std::string, std::string>>& headers) {
  for (auto& [name, value] : reader.family(prefix)) {
    std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    const bool good_name = !name.empty() && !name.starts_with("grpc-") && std::ranges::all_of(name, [](unsigned char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    });
    const bool good_value = std::ranges::all_of(value, [](unsigned char c) { return c >= ' ' && c <= '~'; });
    if (!good_name || !good_value) {
      reader.problem("invalid env var " + std::string(prefix) + name + "=<not shown> (" +
                     (good_name ? "the value must be printable ASCII" : "not a name of gRPC metadata") + ")");
      continue;
    }
    headers.emplace_back(std::move(name), std::move(value));
  }
}

void load_authority(SettingReader& reader, bool in_kubernetes, Settings& settings) {
  auto address = reader.text("CA_ADDRESS");
  if (!reader.is_set("CA_ADDRESS") && !in_kubernetes) address = "https://localhost:15012";
  if (address.empty()) {
    reader.reject("CA_ADDRESS", "without an authority there are no certificates; must be https://HOST:PORT");
  } else if (auto parsed = parse_authority_address(address, settings); !parsed) {
    reader.reject("CA_ADDRESS", parsed.error().message());
  }
  settings.ca_root_ca = reader.text("CA_ROOT_CA");
  settings.alt_ca_hostname = reader.text("ALT_CA_HOSTNAME");
  settings.auth_token = reader.text("AUTH_TOKEN");
  settings.secret_ttl = reader.duration("SECRET_TTL");
  load_headers(reader, "CA_HEADER_", settings.ca_headers);
  std::vector<std::pair<std::string, std::string>> unused;
  load_headers(reader, "XDS_HEADER_", unused);

  settings.tls12_enabled = reader.is("TLS12_ENABLED", "true");
  settings.post_quantum_only = reader.is("COMPLIANCE_POLICY", "pqc");
  if (settings.post_quantum_only && !tls::post_quantum_available()) {
    reader.reject("COMPLIANCE_POLICY", "the OpenSSL in use has no X25519MLKEM768, which came with 3.5");
  }
}

// ztunnel's rule: leave some of the pod's grace period to everything that is not waiting.
Duration termination_deadline(SettingReader& reader) {
  const auto grace = reader.optional_number("TERMINATION_GRACE_PERIOD_SECONDS");
  const auto deadline = reader.optional_duration("CONNECTION_TERMINATION_DEADLINE");
  if (deadline) return *deadline;
  if (!grace) return 5s;
  return std::chrono::seconds(*grace > 10 ? *grace - 5 : std::max<std::int64_t>(*grace - 1, 1));
}

void load_data_path(SettingReader& reader, Settings& settings) {
  settings.pool_max_streams = unsigned_number(reader, "POOL_MAX_STREAMS_PER_CONNECTION");
  settings.pool_unused_release_timeout = reader.duration("POOL_UNUSED_RELEASE_TIMEOUT");
  settings.peer_limits.source_connections = unsigned_number(reader, "WEFT_SOURCE_CONNECTIONS_MAX");
  settings.peer_limits.source_tunnels = unsigned_number(reader, "WEFT_SOURCE_TUNNELS_MAX");
  settings.peer_limits.identity_connections = unsigned_number(reader, "WEFT_IDENTITY_CONNECTIONS_MAX");
  settings.peer_limits.identity_tunnels = unsigned_number(reader, "WEFT_IDENTITY_TUNNELS_MAX");
  settings.peer_limits.node_identity_connections = unsigned_number(reader, "WEFT_NODE_IDENTITY_CONNECTIONS_MAX");
  settings.peer_limits.node_identity_tunnels = unsigned_number(reader, "WEFT_NODE_IDENTITY_TUNNELS_MAX");
  settings.peer_limits.node_identity_stalled = unsigned_number(reader, "WEFT_NODE_IDENTITY_STALLED_MAX");
  settings.stall_timeout = reader.duration("WEFT_STALL_TIMEOUT");
  settings.pod_descriptors = unsigned_number(reader, "WEFT_POD_DESCRIPTORS");
  if (settings.mode == ProxyMode::kDedicated && !reader.is_set("WEFT_POD_DESCRIPTORS")) settings.pod_descriptors = 100;
  settings.http2_stream_window = unsigned_number(reader, "HTTP2_STREAM_WINDOW_SIZE");
  settings.http2_connection_window = unsigned_number(reader, "HTTP2_CONNECTION_WINDOW_SIZE");
  settings.http2_frame_size = unsigned_number(reader, "HTTP2_FRAME_SIZE");
  settings.termination_deadline = termination_deadline(reader);
  if (const auto original = reader.optional_boolean("ENABLE_ORIG_SRC")) {
    settings.original_source = *original ? OriginalSource::kRequired : OriginalSource::kNever;
  }
  settings.inpod_uds = reader.text("INPOD_UDS");
  settings.inpod_port_reuse = reader.boolean("INPOD_PORT_REUSE");
  settings.packet_mark = unsigned_number(reader, "PACKET_MARK");
  if (settings.mode == ProxyMode::kDedicated && !reader.is_set("PACKET_MARK")) settings.packet_mark = 0;
  settings.localhost_app_tunnel = reader.boolean("LOCALHOST_APP_TUNNEL");
  settings.response_baggage = reader.boolean("ENABLE_RESPONSE_BAGGAGE");
  settings.ipv6_enabled = reader.boolean("IPV6_ENABLED");
  settings.policy_info_logging = reader.is("AUTHZ_POLICY_INFO_LOGGING", "true");

  io::Keepalive keepalive;
  keepalive.time = reader.duration("KEEPALIVE_TIME");
  keepalive.interval = reader.duration("KEEPALIVE_INTERVAL");
  keepalive.retries = static_cast<int>(reader.number("KEEPALIVE_RETRIES"));
  keepalive.user_timeout = reader.boolean("USER_TIMEOUT_ENABLED");
  if (reader.boolean("KEEPALIVE_ENABLED")) settings.keepalive = keepalive;
}

// Each input by itself first, so that all bad ones are named and not only the first.
void load_worker_threads(SettingReader& reader, const ProxyConfig& config, unsigned cpus, Settings& settings) {
  runtime::WorkerCountInputs inputs;
  inputs.usable_cpus = cpus;
  inputs.concurrency = config.concurrency;
  const auto take = [&](std::string_view name, std::optional<std::string> runtime::WorkerCountInputs::* field) {
    const auto value = reader.given(name);
    if (!value) return;
    runtime::WorkerCountInputs alone;
    alone.*field = *value;
    if (auto count = runtime::worker_count(alone))
      inputs.*field = *value;
    else
      reader.reject(name, count.error().message());
  };
  take("ZTUNNEL_WORKER_THREADS", &runtime::WorkerCountInputs::worker_threads);
  take("ZTUNNEL_CPU_LIMIT", &runtime::WorkerCountInputs::cpu_limit);
  take("ZTUNNEL_RESOURCE_CPU_LIMIT", &runtime::WorkerCountInputs::resource_cpu_limit);
  take("ZTUNNEL_RESOURCE_CPU_REQUEST", &runtime::WorkerCountInputs::resource_cpu_request);
  if (auto count = runtime::worker_count(inputs))
    settings.worker_threads = *count;
  else
    reader.problem(count.error().message());
}

void load_engine(SettingReader& reader, Settings& settings) {
  if (auto choice = runtime::parse_engine_choice(reader.text("WEFT_ENGINE")))
    settings.engine.choice = *choice;
  else
    reader.reject("WEFT_ENGINE", choice.error().message());
  auto features = runtime::apply_uring_features(reader.text("WEFT_URING_FEATURES"), settings.engine);
  if (!features) reader.reject("WEFT_URING_FEATURES", features.error().message());
  settings.engine.spin = reader.duration("WEFT_SPIN");
}

}  // namespace

Result<Settings> load_settings(const std::map<std::string, std::string>& environment, unsigned cpus,
                               const std::optional<std::string>& mesh_config) {
  SettingReader reader(environment);
  Settings settings;
  auto config = load_proxy_config(reader, mesh_config);
  load_mode(reader, settings);
  refuse_unbuilt(reader, config);
  load_identity(reader, settings);
  load_mesh_source(reader, settings);
  load_authority(reader, environment.contains("KUBERNETES_SERVICE_HOST"), settings);
  load_data_path(reader, settings);
  load_worker_threads(reader, config, cpus, settings);
  load_engine(reader, settings);
  settings.admin_port = config.admin_port.value_or(settings.admin_port);
  settings.stats_port = config.stats_port.value_or(settings.stats_port);
  settings.proxy_metadata = std::move(config.metadata);
  settings.log_filter = std::string(kLogFilterPrefix) + reader.text("RUST_LOG");
  settings.log_json = reader.is("LOG_FORMAT", "json");
  WEFT_TRY_VOID(reader.result());
  for (const auto& setting : setting_table()) {
    if (!setting.config_key.empty()) settings.shown.emplace(setting.config_key, reader.value(setting));
  }
  return settings;
}

std::map<std::string, std::string> process_environment() {
  std::map<std::string, std::string> environment;
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (equals != text.npos) environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

Result<std::optional<std::string>> read_mesh_config() {
  const std::string path(kMeshConfigPath);
  if (::access(path.c_str(), F_OK) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::optional<std::string>();
    return fail_errno(errno, path);
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail_errno(errno, path);
  std::string text(kMeshConfigBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return fail(ErrorCode::kIo, path + ": cannot be read");
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMeshConfigBytesMax) return fail(ErrorCode::kLimit, path + ": longer than 1 MiB");
  return std::optional(std::move(text));
}

}  // namespace weft::ztunnel
