// What each peer of one pod holds, by its address and by its identity: tunnel connections and tunnels. And what it did
// before: a peer whose connections were ended for costing too much waits longer each time.
//
// Both keys count, since either alone is too coarse or too easy: replicas share an identity, and a node's own pods an
// address. Thread: the pod's worker.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "lib/base/clock.h"
#include "lib/base/ip.h"
#include "lib/base/result.h"
#include "ztunnel/limits/node_peers.h"
#include "ztunnel/limits/reasons.h"
#include "ztunnel/settings.h"

namespace weft::ztunnel {

// Back-off: nothing after the first breach (it cost the peer its connection), then 1 s, doubled each time up to a minute;
// forgotten after ten minutes without another.
inline constexpr Duration kBackOffFirst = std::chrono::seconds(1);
inline constexpr Duration kBackOffMax = std::chrono::seconds(60);
inline constexpr Duration kBackOffForgiven = std::chrono::minutes(10);
// Peers remembered for it, per pod. Beyond it the one whose last breach is longest ago is forgotten.
inline constexpr std::size_t kOffendersMax = 256;

class Peers {
 public:
  // The node's outlives the pod's.
  Peers(const PeerLimits& limits, NodePeers& node, LimitCounters& counters)
      : limits_(limits), node_(node), counters_(counters) {}
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  // One peer's tunnel connection, and its tunnels.
  class Seat {
   public:
    ~Seat();
    Seat(Seat&& other) noexcept;
    Seat& operator=(Seat&&) = delete;

    // Ended when it is destroyed, before the seat.
    class Tunnel {
     public:
      Tunnel(Tunnel&& other) noexcept : seat_(std::exchange(other.seat_, nullptr)) {}
      Tunnel& operator=(Tunnel&&) = delete;
      ~Tunnel() {
        if (seat_) seat_->close_tunnel();
      }
      explicit operator bool() const { return seat_ != nullptr; }

     private:
      friend class Seat;
      explicit Tunnel(Seat* seat) : seat_(seat) {}
      Seat* seat_;
    };
    // Nothing when it has too many; that is counted.
    Tunnel open_tunnel();
    // What the peer's identity has on the node (node_peers.h); by the owner of an open tunnel.
    void begin_stall() { place_.begin_stall(); }
    void end_stall() { place_.end_stall(); }
    bool too_many_stalled() const { return place_.too_many_stalled(); }

   private:
    friend class Peers;
    void close_tunnel();
    Seat(Peers* owner, IpAddress address, std::string identity, NodePeers::Place place)
        : owner_(owner), address_(address), identity_(std::move(identity)), place_(std::move(place)) {}
    Peers* owner_;
    IpAddress address_;
    std::string identity_;
    NodePeers::Place place_;
  };

  // Whether a connection of this address would be too many; before its handshake, which is the costly part.
  bool source_is_full(const IpAddress& address);
  // A place for a connection whose peer is known, "" for one without an identity. Errors: kLimit, counted.
  Result<Seat> seat(const IpAddress& address, std::string identity, MonotonicTime now);
  // The peer's connection was ended for costing too much.
  void on_breach(const IpAddress& address, const std::string& identity, MonotonicTime now);

  std::size_t offenders() const { return offenders_.size(); }

 private:
  struct Use {
    std::uint32_t connections = 0;
    std::uint32_t tunnels = 0;
  };
  struct Offence {
    std::uint32_t breaches = 0;
    MonotonicTime last{};
    MonotonicTime until{};
  };
  static std::string offender(const IpAddress& address, const std::string& identity) {
    return address.to_string() + " " + identity;
  }
  void leave(const Seat& seat);

  const PeerLimits limits_;
  NodePeers& node_;
  LimitCounters& counters_;
  // Entries live while something is counted in them: as many as there are connections at most.
  std::unordered_map<IpAddress, Use> by_address_;
  std::unordered_map<std::string, Use> by_identity_;
  std::unordered_map<std::string, Offence> offenders_;
};

}  // namespace weft::ztunnel
