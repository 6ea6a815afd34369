#include "ztunnel/limits/node_peers.h"

#include <algorithm>

namespace weft::ztunnel {
namespace {

std::uint32_t at_most(std::uint32_t wanted, std::uint64_t descriptors) {
  const auto part = std::max<std::uint64_t>(descriptors / kIdentityDescriptorPart, 1);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(wanted, part));
}

}  // namespace

NodePeers::NodePeers(const PeerLimits& limits, std::uint64_t descriptors)
    : connections_max_(at_most(limits.node_identity_connections, descriptors)),
      tunnels_max_(at_most(limits.node_identity_tunnels, descriptors)),
      stalled_max_(limits.node_identity_stalled) {}

NodePeers::Place NodePeers::take(const std::string& identity) {
  const std::lock_guard lock(mutex_);
  auto& entry = *table_.try_emplace(identity).first;
  // A refused one leaves no entry behind: the bound is at least 1.
  if (entry.second.connections >= connections_max_) return {};
  ++entry.second.connections;
  return {this, &entry};
}

void NodePeers::leave(Table::value_type& entry) {
  const std::lock_guard lock(mutex_);
  if (--entry.second.connections == 0) table_.erase(table_.find(entry.first));
}

bool NodePeers::Place::open_tunnel() {
  auto& tunnels = entry_->second.tunnels;
  // Up first, so that two threads at the bound never both pass.
  if (tunnels.fetch_add(1, std::memory_order_relaxed) < owner_->tunnels_max_) return true;
  tunnels.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

std::size_t NodePeers::identities() const {
  const std::lock_guard lock(mutex_);
  return table_.size();
}

}  // namespace weft::ztunnel
