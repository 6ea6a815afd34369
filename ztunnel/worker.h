// One worker thread's part of the node proxy: the pods that live here and the mesh as they see it.
//
// A pod has one home worker that owns its listeners, its connections and its tunnels. Everything runs on the worker's
// thread; control code reaches it with call_on (lib/async/cross_thread.h).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/async/pace.h"
#include "lib/async/published.h"
#include "lib/io/network.h"
#include "lib/model/snapshot.h"
#include "lib/zds/messages.h"
#include "ztunnel/access_record.h"
#include "ztunnel/connections.h"
#include "ztunnel/identities.h"
#include "ztunnel/limits/node_limits.h"
#include "ztunnel/open_connections.h"
#include "ztunnel/proxy_kind.h"
#include "ztunnel/settings.h"
#include "ztunnel/traffic.h"

namespace weft::ztunnel {

class PodProxy;

// One pod's proxy as the dump shows it.
struct PodReport {
  std::uint64_t id = 0;  // as start_pod() was told
  zds::Pod pod;
  std::vector<ConnectionRow> inbound, outbound;
};

// How open connections end when a pod is given up.
enum class DrainMode {
  kGraceful,   // they may finish until the deadline
  kImmediate,  // now: the pod is gone
};

class Worker {
 public:
  static constexpr std::uint64_t kOwnProxy = 0;

  // All references outlive the worker.
  Worker(Loop& loop, io::NetworkFactory& networks, const Settings& settings, Identities& identities,
         TrafficFamilies& families, NodeLimits& limits);
  ~Worker();

  // The pods' snapshot is from now on what `mesh` publishes.
  Task<void> follow(Published<model::Snapshot>& mesh);

  // Opens the pod's listeners inside `netns` and serves. `id` names this proxy, and is not kOwnProxy; a pod that moved to
  // another namespace has two for a while. Errors: what binding said.
  Task<Result<void>> start_pod(std::uint64_t id, zds::Pod pod, const Fd& netns);
  // The same for the process itself, in its own namespace, as kOwnProxy.
  Task<Result<void>> start_own(zds::Pod pod, ProxyKind kind);
  // Returns when every connection of the pod has ended; at once when there is no such proxy.
  Task<void> stop_pod(std::uint64_t id, DrainMode mode);
  // Every pod that lives here, with its connections of this moment; one pod a turn of the loop.
  Task<std::vector<PodReport>> report();
  // No pods may be left.
  Task<void> stop();

  Loop& loop() { return loop_; }
  const Settings& settings() const { return settings_; }
  Identities& identities() { return identities_; }
  OpenConnections& open_connections() { return open_connections_; }
  TrafficMetrics& metrics() { return metrics_; }
  Descriptors& descriptors() { return limits_.descriptors; }
  NodePeers& node_peers() { return limits_.peers; }
  LimitCounters& limit_counters() { return limit_counters_; }
  // Shared by the handshakes of all pods here.
  Pace& handshake_pace() { return handshake_pace_; }
  // Shared by what goes through many connections at once: rechecks of all pods, reports.
  Pace& round_pace() { return round_pace_; }
  // Never null.
  const model::SnapshotPtr& snapshot() const { return snapshot_; }

 private:
  void on_snapshot(const model::SnapshotPtr& snapshot);
  Result<void> start(std::uint64_t id, zds::Pod pod, io::NetworkPtr network, const ProxyKind& kind);

  Loop& loop_;
  io::NetworkFactory& networks_;
  const Settings& settings_;
  Identities& identities_;
  TrafficMetrics metrics_;
  NodeLimits& limits_;
  LimitCounters limit_counters_;
  Pace handshake_pace_;
  Pace round_pace_;
  OpenConnections open_connections_;
  model::SnapshotPtr snapshot_;
  Published<model::Snapshot>::Watch watch_;
  std::map<std::uint64_t, std::unique_ptr<PodProxy>> pods_;
};

}  // namespace weft::ztunnel
