// The connections of one pod to its peers: tunnels share them when nothing that must stay apart would be shared.
//
// Thread: the pod's worker; nothing here is shared between pods or threads. Per key at most one connection is being made;
// who else needs one waits and then looks again. A connection takes new tunnels while fewer than
// min(streams_max, the peer's SETTINGS_MAX_CONCURRENT_STREAMS) are open on it, also again after it was full. One whose
// window is used up in either direction, by tunnels whose readers stall, is full too: a new tunnel would carry nothing on it
// until they move. With ztunnel's windows four of them are needed for that, so stalled tunnels make no more connections than
// a quarter of their number.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/async/scope.h"
#include "lib/async/semaphore.h"
#include "lib/base/ip.h"
#include "lib/hbone/connect.h"

namespace weft::hbone {

enum class HopKind : std::uint8_t { kWorkload, kWaypoint, kGateway };

// Everything two tunnels must have in common to share a connection.
struct PoolKey {
  std::string source_uid;                        // the pod on whose behalf
  std::uint64_t credential_generation = 0;       // of its certificate
  std::string destination_uid;                   // workload or waypoint at the hop
  std::vector<std::string> expected_identities;  // accepted at the hop, in order
  SocketAddress hop;
  HopKind kind = HopKind::kWorkload;

  friend auto operator<=>(const PoolKey&, const PoolKey&) = default;
};

// Our own ztunnel answers within 15 s, the time for hearing of a new pod and for dialling its application; others may try an
// application more than once. A peer that answers PING and never a request would else keep what waits for it for ever.
inline constexpr Duration kAnswerTimeout = std::chrono::seconds(30);

class Pool {
 public:
  struct Dialed {
    io::StreamPtr transport;
    std::shared_ptr<const void> hold;  // kept until the connection is gone
  };
  // Makes a connected, verified TLS stream to key.hop. One call per key at a time.
  using Dialer = std::function<Task<Result<Dialed>>(const PoolKey& key, StopToken stop)>;
  struct Options {
    http2::Settings http2;
    std::uint32_t streams_max = 100;                            // POOL_MAX_STREAMS_PER_CONNECTION
    Duration unused_release_timeout = std::chrono::minutes(5);  // POOL_UNUSED_RELEASE_TIMEOUT
  };

  Pool(Loop& loop, Options options, Dialer dial);
  // close() must have been awaited.
  ~Pool();

  // Opens a tunnel on a pooled or new connection. Errors of the dialer and of connect(); kUnreachable when the request was
  // not answered within kAnswerTimeout, the peer hears of that by a reset; kCancelled "pool draining" after close().
  Task<Result<Tunnel>> open(PoolKey key, http2::Headers request, StopToken stop);

  // Workloads for which `gone` is true are no more, their addresses may soon be others': no new tunnels to them on the
  // connections made so far, nor on one being made. Open tunnels go on.
  void evict_destinations(const std::function<bool(const std::string& uid)>& gone);
  // A new certificate: connections made with older ones take no new tunnels.
  void evict_generations_before(std::uint64_t generation);

  // Connections that may take tunnels, now or once they are not full any more.
  std::size_t connections() const;

  // Keys that something is kept for, for tests.
  std::size_t destinations() const { return entries_.size(); }

  // Cuts every connection and waits until all are gone.
  Task<void> close();

 private:
  struct Member;
  struct Entry;
  struct User;

  std::shared_ptr<http2::Connection> find_free(Entry& entry);
  Task<void> drive(std::shared_ptr<Entry> entry, std::shared_ptr<Member> member);
  std::shared_ptr<http2::Connection> add(const std::shared_ptr<Entry>& entry, Dialed dialed);
  void evict_if(const std::function<bool(const PoolKey&)>& gone);
  void drop_if_unused(const Entry& entry);
  void retire(const std::shared_ptr<Member>& member);
  void arm(Member& member);

  Loop& loop_;
  Options options_;
  Dialer dial_;
  std::map<PoolKey, std::shared_ptr<Entry>> entries_;
  Scope scope_;
};

}  // namespace weft::hbone
