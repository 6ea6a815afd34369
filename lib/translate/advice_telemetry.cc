// Telemetry and EnvoyFilter: what their author meant, as far as it can be told, and that nothing follows them yet.
#include <optional>

#include "lib/translate/detail/advice.h"
#include "lib/translate/detail/tree.h"

namespace weft::translate::detail {
namespace {

using manifest::Reader;
using UntypedItem = Item<manifest::Untyped>;

struct Metric {
  std::string_view name;        // of the API
  std::string_view prometheus;  // as scraped, without "istio_"
};
constexpr Metric kMetrics[] = {{"ALL_METRICS", ""},
                               {"REQUEST_COUNT", "requests_total"},
                               {"REQUEST_DURATION", "request_duration_milliseconds"},
                               {"REQUEST_SIZE", "request_bytes"},
                               {"RESPONSE_SIZE", "response_bytes"},
                               {"TCP_OPENED_CONNECTIONS", "tcp_connections_opened_total"},
                               {"TCP_CLOSED_CONNECTIONS", "tcp_connections_closed_total"},
                               {"TCP_SENT_BYTES", "tcp_sent_bytes_total"},
                               {"TCP_RECEIVED_BYTES", "tcp_received_bytes_total"},
                               {"GRPC_REQUEST_MESSAGES", "request_messages_total"},
                               {"GRPC_RESPONSE_MESSAGES", "response_messages_total"}};

// Attributes whose values never end: one series each would fill every store.
constexpr std::string_view kUnbounded[] = {
    "x-request-id", "request.id",    "traceparent",  "traceid",      "trace_id",         "spanid",       "span_id",
    "cookie",       "authorization", "request.time", "request.path", "request.url_path", "request.query"};

void metric_name(const Tree& tree, const Reader& field) {
  const auto text = field.as_text().value_or("");
  if (text.empty()) return;
  const auto bare = text.starts_with("istio_") ? text.substr(6) : text;
  for (const auto& metric : kMetrics) {
    if (metric.name == text) return;
    if (metric.prometheus.empty() || metric.prometheus != bare) continue;
    return tree.find(Level::kWarning, "Interpreted", field,
                     shown(text) + " is the name in Prometheus; taken as " + std::string(metric.name));
  }
  tree.find(Level::kWarning, "FieldIgnored", field,
            shown(text) + " is no metric; a name of your own goes into customMetric");
}

// %{NAME | 'default'}: a notation of log formats, where an expression is asked for.
struct Placeholder {
  std::string name, fallback;
};
std::optional<Placeholder> read_placeholder(std::string text) {
  if (!text.starts_with("%{") || !text.ends_with('}')) return std::nullopt;
  text = text.substr(2, text.size() - 3);
  auto trim = [](std::string part) {
    part.erase(0, std::min(part.find_first_not_of(' '), part.size()));
    part.erase(part.find_last_not_of(' ') + 1);
    return part;
  };
  const auto bar = text.find('|');
  Placeholder out{trim(text.substr(0, bar)), bar == text.npos ? "" : trim(text.substr(bar + 1))};
  if (out.fallback.size() >= 2 && out.fallback.front() == '\'' && out.fallback.back() == '\'')
    out.fallback = out.fallback.substr(1, out.fallback.size() - 2);
  return out;
}

void tag_value(const Tree& tree, const Reader& field) {
  const auto text = field.as_text().value_or("");
  if (text.find('%') == text.npos && text.find("${") == text.npos) return;  // read as CEL
  const auto placeholder = read_placeholder(text);
  if (placeholder && placeholder->name.starts_with("REQUEST_HEADERS['") && placeholder->name.ends_with("']")) {
    const auto header = "request.headers['" + placeholder->name.substr(17, placeholder->name.size() - 19) + "']";
    return tree.find(Level::kWarning, "Interpreted", field,
                     shown(text) + " is no CEL expression; taken as has(" + header + ") ? " + header + " : '" +
                         placeholder->fallback + "'");
  }
  if (placeholder &&
      (placeholder->name == "DESTINATION_SERVICE_NAME" || placeholder->name == "DESTINATION_SERVICE_NAMESPACE"))
    return tree.find(Level::kWarning, "Interpreted", field,
                     shown(text) + " is no CEL expression; taken as the standard label with \"" + placeholder->fallback +
                         "\" where it is empty");
  tree.find(Level::kWarning, "InvalidExpression", field, shown(text) + " is no CEL expression; the label stays as it is");
}

void cardinality(const Tree& tree, const Reader& tag, const std::string& value) {
  for (const auto attribute : kUnbounded) {
    if (value.find(attribute) == value.npos) continue;
    return tree.find(
        Level::kWarning, "UnboundedCardinality", tag,
        std::string(attribute) + " has a new value for every request or client; each makes a series of its own");
  }
}

// What the API server refuses: a name that is there and empty, a label to set without a value or to remove with one.
void not_empty(const Tree& tree, const Reader& field) {
  if (field && field.as_text() == "") tree.find(Level::kError, "InvalidValue", field, "must not be empty");
}
void tag_operation(const Tree& tree, const Reader& tag) {
  const auto operation = tag.text("operation");
  const bool has_value = static_cast<bool>(tag.any("value"));
  if (operation == "UPSERT" && !has_value) tree.find(Level::kError, "InvalidValue", tag, "UPSERT needs a value");
  if (operation == "REMOVE" && has_value)
    tree.find(Level::kError, "InvalidValue", tag.any("value"), "has no meaning beside REMOVE");
}

void telemetry(const UntypedItem& item) {
  const Tree tree(item);
  item.status->find(Level::kWarning, "NoWaypoint", "the node proxy's metrics, logs and traces do not follow it yet");
  const auto metrics = tree.spec().list("metrics");
  const bool names_provider =
      std::any_of(metrics.begin(), metrics.end(), [](const Reader& entry) { return !entry.list("providers").empty(); });
  for (const auto& entry : metrics) {
    if (names_provider && !entry.any("providers"))
      tree.find(Level::kInfo, "Interpreted", entry,
                "names no provider, unlike its neighbour; holds for the default provider");
    for (const auto& provider : entry.list("providers")) not_empty(tree, provider.any("name"));
    for (const auto& change : entry.list("overrides")) {
      metric_name(tree, change.map("match").any("metric"));
      not_empty(tree, change.map("match").any("customMetric"));
      for (const auto& [name, tag] : change.entries("tagOverrides")) {
        tag_operation(tree, tag);
        const auto value = tag.any("value");
        tag_value(tree, value);
        cardinality(tree, tag, value.as_text().value_or(""));
      }
    }
  }
}

// An access log set for the HTTP connection manager.
bool sets_access_log(const Reader& patch) {
  const auto to = patch.text("applyTo");
  const auto filter = patch.map("match").map("listener").map("filterChain").map("filter").text("name");
  return (to == "HTTP_FILTER" || to == "NETWORK_FILTER") && filter == "envoy.filters.network.http_connection_manager" &&
         patch.map("patch").map("value").map("typed_config").any("access_log");
}

void envoy_filter(const UntypedItem& item) {
  const Tree tree(item);
  const auto patches = tree.spec().list("configPatches");
  if (patches.empty())
    item.status->find(Level::kWarning, "UnsupportedPatch", "changes Envoy's configuration, which this mesh does not have");
  for (const auto& patch : patches) {
    const auto match = patch.map("match");
    if (!sets_access_log(patch)) {
      const auto filter = match.map("listener").map("filterChain").map("filter").text("name");
      tree.find(Level::kWarning, "UnsupportedPatch", patch,
                patch.text("applyTo").substr(0, 100) + " " + patch.map("patch").text("operation").substr(0, 100) +
                    (filter.empty() ? "" : " of " + shown(filter)) +
                    " changes Envoy's configuration, which this mesh does not have");
      continue;
    }
    if (patch.text("applyTo") == "HTTP_FILTER" && !match.map("listener").map("filterChain").map("filter").any("subFilter"))
      tree.find(Level::kWarning, "Interpreted", patch.any("applyTo"),
                "an access log belongs to NETWORK_FILTER, and as written nothing matches; taken as the access-log format of "
                "HTTP proxies, which Telemetry accessLogging and the mesh's accessLogFormat say in the supported way");
    if (const auto context = match.text("context"); context.starts_with("SIDECAR_"))
      tree.find(Level::kWarning, "Interpreted", match.any("context"),
                context.substr(0, 100) + ": there are no sidecars; taken as the waypoints of the services");
    item.status->find(Level::kWarning, "NoWaypoint",
                      "logs of HTTP requests come from waypoints, and none of this mesh serves it yet; the node proxy's "
                      "access log keeps its own form");
  }
}

}  // namespace

void advise_telemetry(World& world) {
  for (const auto& item : world.untyped) {
    if (is_kind(item, "telemetry.istio.io", "Telemetry")) telemetry(item);
    if (is_kind(item, "networking.istio.io", "EnvoyFilter")) envoy_filter(item);
  }
}

}  // namespace weft::translate::detail
