// The world's TCP: hosts (network namespaces) with addresses, listeners, redirect rules, latency and faults.
//
// Bytes arrive in order after a latency drawn per segment; a sender is at most kSocketBuffer ahead of the reader. FIN and
// RST behave as Linux's: closing with unread data resets, data for a closed socket is answered with RST, what had arrived
// before a RST can still be read.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/io/network.h"
#include "tests/support/sim/world.h"

namespace weft::sim {

inline constexpr std::size_t kSocketBuffer = 256 * 1024;

// Chances are per opportunity: per segment sent, per connect.
struct Faults {
  Duration latency_min = std::chrono::microseconds(20);
  Duration latency_max = std::chrono::microseconds(300);
  double short_read = 0;   // a read returns fewer bytes than there are
  double short_write = 0;  // a write leaves as several segments
  double reset = 0;        // a segment is lost to a reset of its connection
  double refuse = 0;       // a connect is refused although somebody listens
  double hang = 0;         // a connect is never answered
  double delay = 0;        // a segment takes up to latency_max x 200, and what follows it too
  double no_buffers = 0;   // a write fails with ENOBUFS
  double no_sockets = 0;   // a connect or listen fails with EMFILE
};

// A connection as redirect rules see it.
struct Flow {
  SocketAddress source;
  SocketAddress destination;
  std::uint32_t mark = 0;
};
class Host;
// The local port to send the flow to instead; none leaves it alone.
using RedirectRule = std::function<std::optional<std::uint16_t>(const Flow&)>;

// A segment as it leaves a socket, for an observer of the wires; one without data opens the connection.
struct Wire {
  std::uint64_t connection;  // counted from 1
  const Host& from;
  const Host& to;
  SocketAddress client;       // who dialled
  SocketAddress destination;  // whom
  std::uint16_t port;         // where it arrived, after rules
  bool toward_server;
};
using WireTap = std::function<void(const Wire&, const BufferChain& data)>;

namespace detail {
struct Endpoint;
class SimListener;
}  // namespace detail

class Internet;

// One network namespace.
class Host {
 public:
  Host(Internet& internet, std::string name) : internet_(internet), name_(std::move(name)) {}
  const std::string& name() const { return name_; }
  void add_address(const IpAddress& address) { addresses_.insert(address); }
  void remove_address(const IpAddress& address) { addresses_.erase(address); }
  // Off the network, for good: it has no address and reaches nobody but itself.
  void unplug() {
    addresses_.clear();
    unplugged_ = true;
  }
  bool has(const IpAddress& address) const { return address.is_loopback() || addresses_.contains(address); }
  // Rules for connections that leave this host, and for those that come from others.
  void redirect_output(RedirectRule rule) { output_ = std::move(rule); }
  void redirect_input(RedirectRule rule) { input_ = std::move(rule); }
  // Whether there are rules of either kind.
  bool redirected() const { return output_ || input_; }

 private:
  friend class Internet;
  friend class detail::SimListener;
  Internet& internet_;
  std::string name_;
  std::set<IpAddress> addresses_;
  bool unplugged_ = false;
  RedirectRule output_;
  RedirectRule input_;
  std::multimap<std::uint16_t, detail::SimListener*> listeners_;
};

class Internet {
 public:
  explicit Internet(World& world) : world_(world) {}
  Internet(const Internet&) = delete;

  World& world() { return world_; }
  Faults& faults() { return faults_; }
  Host& make_host(const std::string& name, const std::vector<IpAddress>& addresses);
  // A descriptor that stands for the host's network namespace (NetworkFactory::in_namespace).
  Fd namespace_of(Host& host);
  // The factory of a process on `host`, for one of its loops.
  std::unique_ptr<io::NetworkFactory> networks(Host& host, Loop& loop);
  // Streams and listeners alive.
  std::size_t open_sockets() const { return open_sockets_; }
  // Resets every connection with an end on `host` (it left the network).
  void reset_connections_of(const Host& host);
  // What the kernel does for a process that was killed, `loops` being its threads: listeners close, connections end, with a
  // reset where something was left unread.
  void end_sockets_of(const std::vector<SimLoop*>& loops);
  // Sees every segment sent from here on.
  void tap(WireTap tap) { tap_ = std::move(tap); }
  // Connections whose listener was at `port` and that nobody has closed on both sides.
  std::size_t connections_to(std::uint16_t port) const;

  // For the implementation.
  Host* host_behind(const Fd& netns);
  Host* host_with(const IpAddress& address);
  Task<Result<io::StreamPtr>> connect(Host& from, Loop& loop, SocketAddress address, io::ConnectOptions options,
                                      StopToken stop);
  Result<io::ListenerPtr> listen(Host& host, Loop& loop, SocketAddress address, const io::ListenOptions& options);
  Duration latency();
  bool chance(double probability);
  std::size_t open_sockets_ = 0;

 private:
  friend struct detail::Endpoint;
  struct Route;
  Result<Route> route(Host& from, const SocketAddress& source, const SocketAddress& address, std::uint32_t mark);

  World& world_;
  Faults faults_;
  WireTap tap_;
  std::uint64_t connections_ = 0;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::map<std::uint64_t, Host*> namespaces_;  // inode of the descriptor
  std::vector<std::weak_ptr<detail::Endpoint>> endpoints_;
  std::uint16_t next_port_ = 40'000;
};

}  // namespace weft::sim
