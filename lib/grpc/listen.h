// Serves gRPC to everybody who connects to a listener, over TLS or in clear text, within bounds.
//
// Callers are strangers until a call shows who they are, so nothing here trusts them: connections are bounded in all and per
// address, handshakes in number and time. Beyond a bound the newest connection is closed at once; those that exist go on.
// Thread: the loop's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "lib/async/scope.h"
#include "lib/async/semaphore.h"
#include "lib/grpc/server.h"
#include "lib/io/network.h"
#include "lib/tls/context.h"

namespace weft::grpc {

struct ListenerOptions {
  // One connection per node and caller; the largest clusters have some thousand nodes.
  std::size_t connections_max = 4096;
  // One address cannot use up the connections of all. Several proxies may share an address behind NAT.
  std::size_t connections_per_address_max = 64;
  // A handshake costs the loop's thread about half a millisecond; this many wait at most 50 ms for each other.
  std::size_t handshakes_max = 64;
  Duration handshake_timeout = std::chrono::seconds(10);
  // After a stop calls under way may go on for this long.
  Duration drain = std::chrono::seconds(5);
};

struct ListenerCounters {
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0;            // beyond a bound
  std::uint64_t handshakes_failed = 0;  // no TLS, too slow, or gone
  std::size_t open = 0;                 // now
};

class ServerListener {
 public:
  // The context of a new connection, asked for each: credentials are renewed. Null from the function: nothing can be
  // served now and the connection is closed. No function: clear text.
  using ContextSource = std::function<std::shared_ptr<const tls::Context>()>;

  ServerListener(Loop& loop, Server& server, ContextSource context, ListenerOptions options = {});

  // Accepts until `stop`, then closes the listener, drains and returns.
  Task<void> run(io::ListenerPtr listener, StopToken stop);
  const ListenerCounters& counters() const { return counters_; }

 private:
  Task<void> serve(io::Accepted accepted);
  Task<Result<io::StreamPtr>> secure(io::StreamPtr below, StopToken stop);

  Loop& loop_;
  Server& server_;
  ContextSource context_;
  const ListenerOptions options_;
  ListenerCounters counters_;
  std::map<IpAddress, std::size_t> by_address_;
  Semaphore handshakes_;
  Scope scope_;
};

}  // namespace weft::grpc
