// Who talks to whom, as the node's numbers tell it: the istio_tcp_* families and their labels, named and ordered as
// ztunnel's.
//
// Families are shared by all threads; a TrafficMetrics belongs to one worker and remembers the samples of the pairs it
// sees often, so that a connection costs no lock and no label text.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "lib/model/baggage.h"
#include "lib/model/identity.h"
#include "lib/model/service.h"
#include "lib/model/workload.h"
#include "lib/telemetry/metrics.h"

namespace weft::ztunnel {

enum class Reporter { kSource, kDestination };
// The access log's and the metrics' word for how a connection ended.
enum class ResponseFlag {
  kNone,           // "-"
  kDeny,           // policy
  kConnect,        // the next hop could not be reached, and anything unclassified
  kTlsFailure,     // our own TLS set-up
  kH2Handshake,    // HTTP/2 could not be agreed on
  kNetworkPolicy,  // connecting to the tunnel port timed out
  kIdentity,       // no certificate
};
std::string_view to_string(ResponseFlag flag);

// Both ends of a connection as far as they are known.
struct Parties {
  Reporter reporter = Reporter::kSource;
  model::WorkloadPtr source;                       // null: unknown
  model::Baggage source_baggage;                   // what the peer says of itself; counts while `source` is unknown
  std::optional<model::Identity> source_identity;  // proven by mutual TLS
  model::WorkloadPtr destination;                  // null: unknown
  model::ServicePtr service;                       // null: none
  bool mutual_tls = false;
};

// The sums of one pair, ended well.
struct TrafficSeries {
  telemetry::Counter* opened = nullptr;
  telemetry::Counter* closed = nullptr;
  telemetry::Counter* received_bytes = nullptr;  // client to server
  telemetry::Counter* sent_bytes = nullptr;      // server to client
};

class TrafficFamilies {
 public:
  explicit TrafficFamilies(telemetry::Registry& registry);

  telemetry::CounterFamily& opened;
  telemetry::CounterFamily& closed;
  telemetry::CounterFamily& received_bytes;
  telemetry::CounterFamily& sent_bytes;
  telemetry::CounterFamily& failed;
  telemetry::GaugeFamily& sockets_open;
};

// The 23 labels, and four of locality when any workload is known; what is not known is "unknown".
telemetry::Labels traffic_labels(const Parties& parties, ResponseFlag flag);

class TrafficMetrics {
 public:
  explicit TrafficMetrics(TrafficFamilies& families);

  TrafficSeries series(const Parties& parties);
  // A connection that was counted as opened ended badly.
  void count_failure(const Parties& parties, ResponseFlag flag);
  telemetry::Gauge& sockets_open(Reporter reporter) {
    return reporter == Reporter::kSource ? source_sockets_ : destination_sockets_;
  }

 private:
  // Pairs remembered; beyond it the memory starts anew. A pod's own peers are few; a scan of the whole mesh is rare.
  static constexpr std::size_t kRememberedMax = 4096;
  struct Key {
    Reporter reporter;
    const model::Workload* source;
    const model::Workload* destination;
    const model::Service* service;
    bool mutual_tls;
    std::optional<model::Identity> identity;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct Remembered {
    Parties alive;  // keeps what the key points to
    TrafficSeries series;
  };

  TrafficSeries look_up(const Parties& parties);

  TrafficFamilies& families_;
  telemetry::Gauge& source_sockets_;
  telemetry::Gauge& destination_sockets_;
  std::unordered_map<Key, Remembered, KeyHash> remembered_;
};

}  // namespace weft::ztunnel
