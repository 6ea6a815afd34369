// What each identity holds on the whole node, at all pods and workers together: tunnel connections, open tunnels, and those
// of them that stand still.
//
// What one pod grants (peers.h) adds up: an identity with peers in many pods could take the node's places pod by pod. Its
// entry is looked up once for a connection, under a lock, after a handshake that cost a thousand times more; a tunnel is an
// atomic step up and one down; bytes touch nothing. An entry lives while its identity has a connection: there are as many
// as connections at most, which descriptors bound. Thread: any.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "ztunnel/settings.h"

namespace weft::ztunnel {

// Of all descriptors one identity's connections get this part at most, and its tunnels another: a half is left for others
// where there are too few for the numbers in the settings.
inline constexpr std::uint64_t kIdentityDescriptorPart = 4;

class NodePeers {
  struct Held {
    std::uint32_t connections = 0;  // under the lock
    std::atomic<std::uint32_t> tunnels = 0;
    std::atomic<std::uint32_t> stalled = 0;
  };
  using Table = std::unordered_map<std::string, Held>;  // its elements never move

 public:
  // `descriptors`: those that pods' sockets may have, all together.
  NodePeers(const PeerLimits& limits, std::uint64_t descriptors);

  // One connection of an identity. Given back when it is destroyed, on any thread; its tunnels have ended by then.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), entry_(other.entry_) {}
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (owner_) owner_->leave(*entry_);
    }
    explicit operator bool() const { return owner_ != nullptr; }
    // Whether there was room for one more.
    bool open_tunnel();
    void close_tunnel() { entry_->second.tunnels.fetch_sub(1, std::memory_order_relaxed); }
    // Of an open tunnel.
    void begin_stall() { entry_->second.stalled.fetch_add(1, std::memory_order_relaxed); }
    void end_stall() { entry_->second.stalled.fetch_sub(1, std::memory_order_relaxed); }
    bool too_many_stalled() const { return entry_->second.stalled.load(std::memory_order_relaxed) > owner_->stalled_max_; }

   private:
    friend class NodePeers;
    Place(NodePeers* owner, Table::value_type* entry) : owner_(owner), entry_(entry) {}
    NodePeers* owner_ = nullptr;
    Table::value_type* entry_ = nullptr;
  };

  // Nothing when the identity has too many connections.
  Place take(const std::string& identity);
  // Identities that hold something.
  std::size_t identities() const;

 private:
  void leave(Table::value_type& entry);

  const std::uint32_t connections_max_;
  const std::uint32_t tunnels_max_;
  const std::uint32_t stalled_max_;
  mutable std::mutex mutex_;
  Table table_;
};

}  // namespace weft::ztunnel
