// What this proxy uses of Istio's ProxyConfig, which comes from the mesh configuration file and from PROXY_CONFIG.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace weft::ztunnel {

struct ProxyConfig {
  std::optional<std::string> discovery_address;
  std::optional<std::uint16_t> admin_port;      // proxyAdminPort
  std::optional<std::uint16_t> stats_port;      // statsPort
  std::optional<std::int64_t> concurrency;      // 0 for one worker a processor
  std::map<std::string, std::string> metadata;  // proxyMetadata, names without "ISTIO_META_"

  // Takes over what `later` sets, metadata name by name.
  void merge(const ProxyConfig& later);
};

// A ProxyConfig as YAML or JSON; unknown fields are ignored. kInvalidArgument names every field of a wrong shape. Unlike
// upstream, proxyMetadata may be absent.
Result<ProxyConfig> parse_proxy_config(std::string_view text);
// The mesh configuration: `{defaultConfig: <ProxyConfig>}`.
Result<ProxyConfig> parse_mesh_config(std::string_view text);

}  // namespace weft::ztunnel
