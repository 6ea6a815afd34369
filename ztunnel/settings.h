// Every setting of the node proxy, as upstream names them, in one typed value. Read once at start; immutable afterwards.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/io/network.h"
#include "lib/runtime/engine.h"
#include "lib/translate/options.h"

namespace weft::ztunnel {

// ENABLE_ORIG_SRC: whether connections to the application carry the caller's address.
enum class OriginalSource { kIfPossible, kRequired, kNever };

// PROXY_MODE: for the pods of a node, which the node agent names, or for one workload in our own network namespace.
enum class ProxyMode { kShared, kDedicated };

// PROXY_WORKLOAD_INFO, "namespace/name/service-account".
struct WorkloadName {
  std::string namespace_name, name, service_account;
};

// A setting as it was read; nothing: unset, without a default.
using SettingValue = std::variant<std::monostate, std::string, bool, std::int64_t, Duration>;

// What one peer may hold at one pod (ztunnel/limits/peers.h), and on the whole node (ztunnel/limits/node_peers.h).
struct PeerLimits {
  std::uint32_t source_connections = 256;
  std::uint32_t source_tunnels = 16'384;
  std::uint32_t identity_connections = 4096;
  std::uint32_t identity_tunnels = 65'536;
  // As much as at four pods: a client of a whole node, such as a gateway, has all its connections under one identity.
  std::uint32_t node_identity_connections = 16'384;
  std::uint32_t node_identity_tunnels = 262'144;
  std::uint32_t node_identity_stalled = 1024;  // tunnels that stand still (ztunnel/inbound/stall_watch.h)
};

struct Settings {
  ProxyMode mode = ProxyMode::kShared;
  WorkloadName workload;       // whom we serve in dedicated mode; empty in shared mode
  std::string node_name;       // NODE_NAME; empty: every workload counts as local
  std::string network;         // NETWORK
  std::string cluster_domain;  // CLUSTER_DOMAIN
  std::string cluster_id;      // ISTIO_META_CLUSTER_ID, then CLUSTER_ID
  std::string istio_version;   // ISTIO_META_ISTIO_VERSION, the `tag` label of istio_build
  std::string trust_domain;    // TRUST_DOMAIN, for manifests (upstream: own identity only)

  // This proxy's own pod; with all three its statistics can be scraped through the mesh (see has_own_identity()).
  std::string pod_name, pod_namespace, service_account;
  std::string instance_ip;                            // INSTANCE_IP
  std::map<std::string, std::string> proxy_metadata;  // ProxyConfig's, overridden by ISTIO_META_*; names without that prefix

  std::string ca_address;       // CA_ADDRESS, always "https://host:port"
  std::string ca_host;          // the host in it, without brackets
  std::uint16_t ca_port = 0;    // the port in it
  std::string ca_root_ca;       // CA_ROOT_CA: path of a file that exists, "SYSTEM", or else inline PEM
  std::string alt_ca_hostname;  // ALT_CA_HOSTNAME
  // AUTH_TOKEN: path of a file that exists, or else a literal. Empty: no authentication; kDefaultAuthTokenPath without such
  // a file means the same.
  std::string auth_token;
  Duration secret_ttl{};                                        // SECRET_TTL
  std::vector<std::pair<std::string, std::string>> ca_headers;  // CA_HEADER_<name>, lower-case names

  // Where the mesh is described: exactly one of the three is set.
  std::string local_xds_path;  // LOCAL_XDS_PATH
  std::string local_xds;       // LOCAL_XDS
  std::string manifest_dir;    // MANIFEST_DIR: folder of Kubernetes manifests, watched
  std::string root_namespace;  // ROOT_NAMESPACE
  bool l7_deny_at_l4 = false;  // L7_DENY_AT_L4=deny: DENY rules fire without regard to their HTTP attributes
  std::vector<translate::EnablementSelector> enablement =
      translate::default_enablement_selectors();  // AMBIENT_ENABLEMENT_SELECTOR
  std::set<std::string> excluded_namespaces;      // EXCLUDE_NAMESPACES

  std::uint32_t pool_max_streams = 100;  // POOL_MAX_STREAMS_PER_CONNECTION
  Duration pool_unused_release_timeout{};
  std::uint32_t http2_stream_window = 0;      // bytes
  std::uint32_t http2_connection_window = 0;  // bytes
  std::uint32_t http2_frame_size = 0;         // bytes, SETTINGS_MAX_FRAME_SIZE advertised

  PeerLimits peer_limits;                          // WEFT_SOURCE_*_MAX, WEFT_IDENTITY_*_MAX, WEFT_NODE_IDENTITY_*_MAX
  Duration stall_timeout = std::chrono::hours(1);  // WEFT_STALL_TIMEOUT; 0: tunnels may stand still
  std::uint32_t pod_descriptors = 25;              // WEFT_POD_DESCRIPTORS, percent of the process's

  Duration termination_deadline{};  // how long a drain waits for connections
  OriginalSource original_source = OriginalSource::kIfPossible;
  std::string inpod_uds;                   // INPOD_UDS
  bool inpod_port_reuse = true;            // INPOD_PORT_REUSE
  std::uint32_t packet_mark = 1337;        // PACKET_MARK: SO_MARK, 0 for none; dedicated mode has none unless it is set
  std::optional<io::Keepalive> keepalive;  // none when KEEPALIVE_ENABLED=false
  bool localhost_app_tunnel = true;        // LOCALHOST_APP_TUNNEL
  bool response_baggage = true;            // ENABLE_RESPONSE_BAGGAGE
  bool ipv6_enabled = true;
  bool policy_info_logging = false;  // AUTHZ_POLICY_INFO_LOGGING
  bool post_quantum_only = false;    // COMPLIANCE_POLICY=pqc
  bool tls12_enabled = false;

  std::uint16_t admin_port = 15000;  // ProxyConfig proxyAdminPort
  std::uint16_t stats_port = 15020;  // ProxyConfig statsPort
  std::size_t worker_threads = 1;
  runtime::EngineOptions engine;  // WEFT_ENGINE, WEFT_URING_FEATURES, WEFT_SPIN

  std::string log_filter;  // RUST_LOG after upstream's prefix
  bool log_json = false;   // LOG_FORMAT=json
  std::string proxy_args;  // the command line, for the dump; set by main

  // What the dump shows of the table's settings, by their keys there (Setting::config_key).
  std::map<std::string, SettingValue> shown;

  bool has_own_identity() const { return !pod_name.empty() && !pod_namespace.empty() && !service_account.empty(); }
};

inline constexpr std::string_view kDefaultAuthTokenPath = "./var/run/secrets/tokens/istio-token";
inline constexpr std::string_view kMeshConfigPath = "./etc/istio/config/mesh";

// Ports of ours inside every pod; never a valid final destination (loop protection).
inline constexpr std::uint16_t kOutboundPort = 15001;
inline constexpr std::uint16_t kInboundPlaintextPort = 15006;
inline constexpr std::uint16_t kHbonePort = 15008;
inline constexpr std::uint16_t kReadinessPort = 15021;
inline constexpr bool is_illegal_port(std::uint16_t port) {
  return port == kOutboundPort || port == kInboundPlaintextPort || port == kHbonePort;
}

// Turns the environment into settings; `mesh_config` is the text of kMeshConfigPath, nullopt when there is no such file. All
// bad settings are reported in one kInvalidArgument, one a line, each naming variable, value and reason.
Result<Settings> load_settings(const std::map<std::string, std::string>& environment, unsigned cpus,
                               const std::optional<std::string>& mesh_config = std::nullopt);

// The two inputs as this process finds them. A mesh configuration that is there but cannot be read is an error.
std::map<std::string, std::string> process_environment();
Result<std::optional<std::string>> read_mesh_config();

}  // namespace weft::ztunnel
