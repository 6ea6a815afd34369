#include "ztunnel/traffic.h"

namespace weft::ztunnel {
namespace {

constexpr std::string_view kUnknown = "unknown";

std::string or_unknown(std::string_view text) { return std::string(text.empty() ? kUnknown : text); }

// What the labels of one end are made of.
struct End {
  std::string_view workload, canonical_name, canonical_revision, namespace_name, app, cluster, region, zone;
};

End end_of(const model::Workload& w) {
  return {w.workload_name,  w.canonical_name, w.canonical_revision, w.namespace_name,
          w.canonical_name, w.cluster_id,     w.locality.region,    w.locality.zone};
}

// As ztunnel: the application of a workload known by its own word alone is its workload name.
End end_of(const model::Baggage& b) {
  return {b.workload_name, b.canonical_name, b.canonical_revision, b.namespace_name, b.workload_name, b.cluster, b.region,
          b.zone};
}

}  // namespace

std::string_view to_string(ResponseFlag flag) {
  switch (flag) {
    case ResponseFlag::kNone: return "-";
    case ResponseFlag::kDeny: return "DENY";
    case ResponseFlag::kConnect: return "CONNECT";
    case ResponseFlag::kTlsFailure: return "TLS_FAILURE";
    case ResponseFlag::kH2Handshake: return "H2_HANDSHAKE_FAILURE";
    case ResponseFlag::kNetworkPolicy: return "NETWORK_POLICY";
    case ResponseFlag::kIdentity: return "IDENTITY_ERROR";
  }
  return "-";
}

TrafficFamilies::TrafficFamilies(telemetry::Registry& registry)
    : opened(registry.counters("istio_tcp_connections_opened", "The total number of TCP connections opened")),
      closed(registry.counters("istio_tcp_connections_closed", "The total number of TCP connections closed")),
      received_bytes(registry.counters("istio_tcp_received_bytes",
                                       "The size of total bytes received during request in case of a TCP connection")),
      sent_bytes(registry.counters("istio_tcp_sent_bytes",
                                   "The size of total bytes sent during response in case of a TCP connection")),
      failed(registry.counters("istio_tcp_connections_failed",
                               "The total number of TCP connections that ended with an error (unstable)")),
      sockets_open(registry.gauges("istio_tcp_sockets_open", "The number of accepted TCP sockets open now (unstable)")) {}

telemetry::Labels traffic_labels(const Parties& p, ResponseFlag flag) {
  const End source = p.source ? end_of(*p.source) : end_of(p.source_baggage);
  const End destination = p.destination ? end_of(*p.destination) : End{};
  const bool any_workload = p.source || p.destination || p.source_baggage != model::Baggage{};
  telemetry::Labels labels;
  labels.reserve(27);
  auto put = [&labels](std::string_view name, std::string_view value) { labels.emplace_back(name, or_unknown(value)); };
  put("reporter", p.reporter == Reporter::kSource ? "source" : "destination");
  put("source_workload", source.workload);
  put("source_canonical_service", source.canonical_name);
  put("source_canonical_revision", source.canonical_revision);
  put("source_workload_namespace", source.namespace_name);
  put("source_principal", p.source_identity ? p.source_identity->to_string() : "");
  put("source_app", source.app);
  put("source_version", source.canonical_revision);
  put("source_cluster", source.cluster);
  put("destination_service", p.service ? p.service->hostname : "");
  put("destination_service_namespace", p.service ? p.service->namespace_name : "");
  put("destination_service_name", p.service ? p.service->name : "");
  put("destination_workload", destination.workload);
  put("destination_canonical_service", destination.canonical_name);
  put("destination_canonical_revision", destination.canonical_revision);
  put("destination_workload_namespace", destination.namespace_name);
  put("destination_principal", p.destination ? p.destination->identity().to_string() : "");
  put("destination_app", destination.app);
  put("destination_version", destination.canonical_revision);
  put("destination_cluster", destination.cluster);
  put("request_protocol", "tcp");
  put("response_flags", to_string(flag));
  put("connection_security_policy", p.mutual_tls ? "mutual_tls" : "");
  if (any_workload) {
    put("source_region", source.region);
    put("source_zone", source.zone);
    put("destination_region", destination.region);
    put("destination_zone", destination.zone);
  }
  return labels;
}

TrafficMetrics::TrafficMetrics(TrafficFamilies& families)
    : families_(families),
      source_sockets_(families.sockets_open.with({{"reporter", "source"}})),
      destination_sockets_(families.sockets_open.with({{"reporter", "destination"}})) {}

std::size_t TrafficMetrics::KeyHash::operator()(const Key& key) const {
  std::size_t hash = std::hash<const void*>{}(key.source);
  hash = hash * 31 + std::hash<const void*>{}(key.destination);
  hash = hash * 31 + std::hash<const void*>{}(key.service);
  if (key.identity) hash = hash * 31 + std::hash<std::string>{}(key.identity->service_account);
  return hash * 4 + (key.reporter == Reporter::kSource) * 2 + key.mutual_tls;
}

TrafficSeries TrafficMetrics::look_up(const Parties& parties) {
  const auto labels = traffic_labels(parties, ResponseFlag::kNone);
  return {&families_.opened.with(labels), &families_.closed.with(labels), &families_.received_bytes.with(labels),
          &families_.sent_bytes.with(labels)};
}

TrafficSeries TrafficMetrics::series(const Parties& parties) {
  if (!parties.source && parties.source_baggage != model::Baggage{}) return look_up(parties);
  const Key key{parties.reporter,      parties.source.get(), parties.destination.get(),
                parties.service.get(), parties.mutual_tls,   parties.source_identity};
  if (auto found = remembered_.find(key); found != remembered_.end()) return found->second.series;
  if (remembered_.size() >= kRememberedMax) remembered_.clear();
  return remembered_.emplace(key, Remembered{parties, look_up(parties)}).first->second.series;
}

void TrafficMetrics::count_failure(const Parties& parties, ResponseFlag flag) {
  const auto labels = traffic_labels(parties, flag);
  families_.closed.with(labels).add();
  families_.failed.with(labels).add();
}

}  // namespace weft::ztunnel
