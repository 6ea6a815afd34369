// Where connections come from and go to: one network namespace seen from one loop.
//
// Implemented by lib/uring, lib/asio and the simulation. Thread: the loop's.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "lib/async/loop.h"
#include "lib/async/stop.h"
#include "lib/async/task.h"
#include "lib/base/fd.h"
#include "lib/base/ip.h"
#include "lib/base/result.h"
#include "lib/io/stream.h"

namespace weft::io {

// TCP keepalive, seconds granularity (TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT).
struct Keepalive {
  Duration time = std::chrono::seconds(180);
  Duration interval = std::chrono::seconds(180);
  int retries = 9;
  // Also sets TCP_USER_TIMEOUT = time + retries x interval.
  bool user_timeout = false;
};

// Every TCP socket gets TCP_NODELAY.
struct ConnectOptions {
  // Connect from this address, port chosen by the kernel, although it may not be local (IP_TRANSPARENT, IP_FREEBIND,
  // IP_BIND_ADDRESS_NO_PORT). Failure to spoof is not an error: the connection then carries our own address.
  std::optional<IpAddress> spoofed_source;
  // SO_MARK, 0 for none.
  std::uint32_t mark = 0;
  std::optional<Keepalive> keepalive;
};

// Who may listen on a port.
enum class PortSharing {
  kAlone,   // one listener (SO_REUSEADDR): a port that is taken is an error
  kShared,  // all that ask for it (SO_REUSEPORT), each connection going to one of them
  kFirst,   // taken as kAlone, then others of the same user may join (SO_REUSEPORT after bind)
  kJoin,    // joins a kFirst (both options, or what this listener accepted would keep the next kFirst away for a minute)
};

struct ListenOptions {
  std::uint32_t mark = 0;  // SO_MARK, inherited by accepted sockets
  PortSharing sharing = PortSharing::kAlone;
  int backlog = 128;
  std::optional<Keepalive> keepalive;  // set on accepted sockets
  // Look up SO_ORIGINAL_DST / IP6T_SO_ORIGINAL_DST of each accepted socket.
  bool want_original_destination = false;
};

// One accepted connection. All addresses are canonical (no IPv4-mapped IPv6).
struct Accepted {
  StreamPtr stream;
  SocketAddress peer;
  SocketAddress local;
  // The destination before redirection; equals `local` when there was none or it was not asked for.
  SocketAddress original_destination;
};

class Listener {
 public:
  // Stops listening; queued connections that were not handed out are closed.
  virtual ~Listener() = default;
  // The next connection. kCancelled after close() or when stopped. Running out of descriptors pauses accepting and is not
  // an error. One call at a time.
  virtual Task<Result<Accepted>> accept(StopToken stop) = 0;
  // Stops listening now, whoever is queued is reset; idempotent.
  virtual void close() = 0;
  // Connections that begin from now on go to a newer listener of the same port (kShared) where there is one; those that
  // have begun still come here. Without one nothing changes.
  virtual void yield_port() = 0;
  // Stops listening now, but accept() hands out whoever is queued before it says kCancelled. A peer in the middle of its
  // handshake is reset: give it a moment between yield_port() and this.
  virtual void finish() = 0;
  virtual SocketAddress address() const = 0;
  // Sets IP_TRANSPARENT on the listening socket (accepted sockets inherit it): allows connections to be made on behalf of
  // foreign addresses and TPROXY delivery. kPermission without CAP_NET_ADMIN.
  virtual Result<void> set_transparent() = 0;
};

using ListenerPtr = std::unique_ptr<Listener>;

class Network {
 public:
  virtual ~Network() = default;
  // Connects a TCP stream. No time limit of its own: bound it with a Deadline's token.
  virtual Task<Result<StreamPtr>> connect(SocketAddress address, ConnectOptions options, StopToken stop) = 0;
  // Binds and listens. An unspecified IPv6 address listens for both families. Port 0 lets the kernel choose.
  virtual Result<ListenerPtr> listen(SocketAddress address, const ListenOptions& options) = 0;
};

using NetworkPtr = std::unique_ptr<Network>;

// Makes networks for one loop: its own namespace's, or that of a pod.
class NetworkFactory {
 public:
  virtual ~NetworkFactory() = default;
  virtual NetworkPtr own() = 0;
  // The namespace behind `netns` (a descriptor of /proc/PID/ns/net or a bind mount of it), which is duplicated and kept
  // open for the network's lifetime. Sockets are created inside; the thread never stays there.
  virtual Result<NetworkPtr> in_namespace(const Fd& netns) = 0;
};

}  // namespace weft::io
