// The proxy of one pod: its listeners, its connections, its tunnels to others. What else a process serves looks like a pod
// here and differs by its kind.
//
// Thread: the home worker's. A connection's task runs in the pod's scope and may use everything here until it ends.
#pragma once

#include <memory>
#include <string>

#include "lib/async/scope.h"
#include "lib/hbone/pool.h"
#include "lib/io/network.h"
#include "lib/tls/context.h"
#include "ztunnel/access_record.h"
#include "ztunnel/connections.h"
#include "ztunnel/limits/handshakes.h"
#include "ztunnel/limits/peers.h"
#include "ztunnel/proxy_kind.h"
#include "ztunnel/worker.h"

namespace weft::ztunnel {

// A connection to an application or a peer is given up after this, and a TLS handshake too.
inline constexpr Duration kConnectTimeout = std::chrono::seconds(10);
// How long a connection waits for the control plane to tell of its own pod.
inline constexpr Duration kWorkloadTimeout = std::chrono::seconds(5);
// Connections of a pod that wait to be accepted, a port: a burst while its worker is busy or stopped. The kernel cuts it to
// net.core.somaxconn (4096) and needs some 2 KiB for each.
inline constexpr int kListenBacklog = 1024;
// A pod that is given up at once may still tell its peers (GOAWAY): time for that to be written.
inline constexpr Duration kGoodbye = std::chrono::milliseconds(5);
// Open connections judged anew in one turn of the loop: a fraction of a millisecond, and all that a pod's peers may have of
// them (65,536) within a second.
inline constexpr std::size_t kRecheckedPerTurn = 256;
// How long a drain takes in peers whose handshake had begun: one lost packet of it is sent again after a second.
inline constexpr Duration kHandshakeGrace = std::chrono::milliseconds(1200);

class PodProxy {
 public:
  // `network` is the one that the listeners are in. `worker` outlives the proxy.
  PodProxy(Worker& worker, zds::Pod pod, io::NetworkPtr network, const ProxyKind& kind);
  ~PodProxy();

  // Opens the listeners and begins to accept: on return the pod's ports answer. All of them or none.
  Result<void> start();
  // Ends accepting, then the connections as `mode` says; returns when all are gone. Call once, also after a failed start. A
  // graceful stop resets nobody who is queued: it leaves new connections to a newer ztunnel on the same ports and serves
  // those that came before.
  Task<void> stop(DrainMode mode);

  // The worker's snapshot has changed.
  void on_snapshot();

  // --- for connections ---
  const zds::Pod& info() const { return pod_; }
  Loop& loop() { return worker_.loop(); }
  const Settings& settings() const { return worker_.settings(); }
  io::Network& network() { return *network_; }
  const model::Snapshot& snapshot() const { return *worker_.snapshot(); }
  TrafficMetrics& metrics() { return worker_.metrics(); }
  OpenConnections& open_connections() { return worker_.open_connections(); }
  Connections& connections() { return connections_; }
  // Moves on when a policy has changed, or which ones apply to the pod. What was judged by an earlier one is judged again.
  std::uint64_t judgement() const { return judgement_; }
  PodDescriptors& descriptors() { return descriptors_; }
  Peers& peers() { return peers_; }
  Handshakes& handshakes() { return handshakes_; }
  LimitCounters& limit_counters() { return worker_.limit_counters(); }
  RefusalLog& refusals() { return refusals_; }
  hbone::Pool& pool() { return pool_; }
  // Fires when connections must end now.
  StopToken stop_token() const { return scope_.token(); }
  // Fires when no new tunnels may come in.
  StopToken drain_token() const { return drain_.token(); }

  // The pod as the mesh knows it, waiting up to kWorkloadTimeout for the mesh to hear of it.
  Task<Result<model::WorkloadPtr>> workload(StopToken stop);
  // The TLS side of the pod's current certificate, waiting for the first one. kIdentity when there is none.
  Task<Result<std::shared_ptr<const tls::Context>>> tls_context(StopToken stop);

  io::ConnectOptions connect_options() const;
  // Whether connections to the application carry their caller's address.
  bool keeps_source() const { return keeps_source_; }
  http2::Settings http2_settings() const;

 private:
  using Serve = Task<void> (*)(PodProxy& pod, io::Accepted accepted);
  Result<io::ListenerPtr> listen(std::uint16_t port, const char* component);
  void serve(io::ListenerPtr listener, Serve serve);
  Task<void> leave_ports();
  Task<void> accept_all(io::Listener& listener, Serve serve);
  Task<Result<certs::CredentialsPtr>> credentials(model::Identity identity, StopToken stop);
  Task<Result<hbone::Pool::Dialed>> dial(const hbone::PoolKey& key, StopToken stop);
  void evict_gone_destinations();
  Task<void> recheck();

  Worker& worker_;
  const zds::Pod pod_;
  const ProxyKind kind_;
  const io::NetworkPtr network_;
  bool keeps_source_ = false;
  Event snapshot_changed_;
  std::uint64_t policy_revision_;  // as last seen
  std::uint64_t judgement_ = 0;
  Pace::Queue rounds_;
  bool rechecking_ = false;
  model::WorkloadPtr last_workload_;  // as last known
  certs::SecretPtr secret_;
  std::shared_ptr<const tls::Context> tls_context_;
  Connections connections_;
  PodDescriptors descriptors_;
  Peers peers_;
  Handshakes handshakes_;
  RefusalLog refusals_;
  StopSource drain_;
  Scope accepting_;
  Scope scope_;
  hbone::Pool pool_;
  std::vector<io::ListenerPtr> listeners_;
};

}  // namespace weft::ztunnel
