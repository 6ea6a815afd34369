// Every setting of the node proxy, as upstream names them, in one typed value. Read once at start; immutable afterwards.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/io/network.h"

namespace weft::ztunnel {

// ENABLE_ORIG_SRC: whether connections to the application carry the caller's address.
enum class OriginalSource { kIfPossible, kRequired, kNever };

struct Settings {
  std::string node_name;       // NODE_NAME; empty: every workload counts as local
  std::string network;         // NETWORK
  std::string cluster_domain;  // CLUSTER_DOMAIN
  std::string cluster_id;      // ISTIO_META_CLUSTER_ID, then CLUSTER_ID
  std::string istio_version;   // ISTIO_META_ISTIO_VERSION, the `tag` label of istio_build
  std::string trust_domain;    // TRUST_DOMAIN, for manifests (upstream: own identity only)

  std::string xds_address;      // XDS_ADDRESS; only the empty string is served: there is no xDS client yet
  std::string ca_address;       // CA_ADDRESS, "https://host:port"
  std::string ca_root_ca;       // CA_ROOT_CA: path, "SYSTEM" or inline PEM
  std::string alt_ca_hostname;  // ALT_CA_HOSTNAME
  std::string auth_token;       // AUTH_TOKEN: path of a token file or a literal; empty: no authentication
  Duration secret_ttl{};        // SECRET_TTL
  std::vector<std::pair<std::string, std::string>> ca_headers;  // CA_HEADER_<name>

  std::string local_xds_path;  // LOCAL_XDS_PATH
  std::string local_xds;       // LOCAL_XDS
  std::string manifest_dir;    // MANIFEST_DIR: folder of Kubernetes manifests, watched

  std::uint32_t pool_max_streams = 100;  // POOL_MAX_STREAMS_PER_CONNECTION
  Duration pool_unused_release_timeout{};
  std::uint32_t http2_stream_window = 0;      // bytes
  std::uint32_t http2_connection_window = 0;  // bytes
  std::uint32_t http2_frame_size = 0;         // bytes, SETTINGS_MAX_FRAME_SIZE advertised

  Duration termination_deadline{};  // how long a drain waits for connections (ztunnel's two variables, see settings.cc)
  OriginalSource original_source = OriginalSource::kIfPossible;
  std::string inpod_uds;        // INPOD_UDS
  bool inpod_port_reuse = true;  // INPOD_PORT_REUSE
  std::uint32_t packet_mark = 1337;
  std::optional<io::Keepalive> keepalive;  // none when KEEPALIVE_ENABLED=false
  bool response_baggage = true;            // ENABLE_RESPONSE_BAGGAGE
  bool ipv6_enabled = true;
  bool policy_info_logging = false;  // AUTHZ_POLICY_INFO_LOGGING
  bool post_quantum_only = false;    // COMPLIANCE_POLICY=pqc
  bool tls12_enabled = false;

  std::uint16_t admin_port = 15000;  // ProxyConfig proxyAdminPort
  std::uint16_t stats_port = 15020;  // ProxyConfig statsPort
  std::size_t worker_threads = 1;

  std::string log_filter;  // RUST_LOG
  bool log_json = false;   // LOG_FORMAT=json
  std::string proxy_args;  // the command line, for the dump
};

// Ports of ours inside every pod; never a valid final destination (loop protection).
inline constexpr std::uint16_t kOutboundPort = 15001;
inline constexpr std::uint16_t kInboundPlaintextPort = 15006;
inline constexpr std::uint16_t kHbonePort = 15008;
inline constexpr std::uint16_t kReadinessPort = 15021;
inline constexpr bool is_illegal_port(std::uint16_t port) {
  return port == kOutboundPort || port == kInboundPlaintextPort || port == kHbonePort;
}

// Reads the environment. All bad settings are reported in one error, one a line, each naming variable, value and reason.
Result<Settings> load_settings(const std::map<std::string, std::string>& environment, unsigned cpus);

}  // namespace weft::ztunnel
