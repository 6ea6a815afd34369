#include "ztunnel/proxy_config.h"

#include "lib/manifest/documents.h"
#include "lib/manifest/reader.h"

namespace weft::ztunnel {
namespace {

constexpr std::string_view kMetadataPrefix = "ISTIO_META_";

manifest::Limits limits() {
  manifest::Limits limits;
  limits.bytes = 1u << 20;  // Kubernetes keeps it in a ConfigMap, which ends there
  limits.values = 100'000;
  limits.text_bytes = 2u << 20;
  limits.documents = 1;
  return limits;
}

std::optional<std::uint16_t> port(const manifest::Reader& reader, std::string_view name) {
  const auto value = reader.integer(name, 1, 65'535);
  return value ? std::optional(static_cast<std::uint16_t>(*value)) : std::nullopt;
}

ProxyConfig read(const manifest::Reader& reader) {
  ProxyConfig config;
  if (reader.any("discoveryAddress")) config.discovery_address = reader.text("discoveryAddress");
  config.admin_port = port(reader, "proxyAdminPort");
  config.stats_port = port(reader, "statsPort");
  config.concurrency = reader.integer("concurrency", 0, 4096);
  for (auto& [name, value] : reader.text_map("proxyMetadata")) {
    config.metadata[name.starts_with(kMetadataPrefix) ? name.substr(kMetadataPrefix.size()) : name] = value;
  }
  return config;
}

Result<ProxyConfig> parse(std::string_view text, std::string_view field) {
  const auto documents = manifest::read_yaml(text, limits());
  if (documents.error) {
    return fail(ErrorCode::kInvalidArgument,
                "line " + std::to_string(documents.error->line) + ": " + documents.error->message);
  }
  if (documents.values.empty()) return ProxyConfig{};
  const auto& root = documents.values.front();
  if (!root.is_map()) return fail(ErrorCode::kInvalidArgument, "not a map of fields");
  manifest::Problems problems;
  manifest::Reader reader(&root, "", &problems);
  auto config = read(field.empty() ? reader : reader.map(field));
  if (problems.errors() == 0) return config;
  std::string reasons;
  for (const auto& problem : problems.items()) {
    reasons += (reasons.empty() ? "" : "; ") + problem.path + ": " + problem.message;
  }
  return fail(ErrorCode::kInvalidArgument, std::move(reasons));
}

template <typename T>
void take(std::optional<T>& value, const std::optional<T>& later) {
  if (later) value = later;
}

}  // namespace

void ProxyConfig::merge(const ProxyConfig& later) {
  take(discovery_address, later.discovery_address);
  take(admin_port, later.admin_port);
  take(stats_port, later.stats_port);
  take(concurrency, later.concurrency);
  for (const auto& [name, value] : later.metadata) metadata[name] = value;
}

Result<ProxyConfig> parse_proxy_config(std::string_view text) { return parse(text, ""); }
Result<ProxyConfig> parse_mesh_config(std::string_view text) { return parse(text, "defaultConfig"); }

}  // namespace weft::ztunnel
