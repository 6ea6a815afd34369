#include "ztunnel/limits/peers.h"

#include <algorithm>

namespace weft::ztunnel {

bool Peers::source_is_full(const IpAddress& address) {
  const auto found = by_address_.find(address);
  if (found == by_address_.end() || found->second.connections < limits_.source_connections) return false;
  counters_.count(LimitReason::kSourceConnections);
  return true;
}

Result<Peers::Seat> Peers::seat(const IpAddress& address, std::string identity, MonotonicTime now) {
  if (const auto found = offenders_.find(offender(address, identity)); found != offenders_.end()) {
    if (now < found->second.until) {
      counters_.count(LimitReason::kBackOff);
      return fail(ErrorCode::kLimit, "refused for a while: connections of this peer were ended for costing too much");
    }
    if (now - found->second.last > kBackOffForgiven) offenders_.erase(found);
  }
  // Looked up again: several handshakes of one address may have passed the first check together.
  if (source_is_full(address)) return fail(ErrorCode::kLimit, "too many tunnel connections from this address");
  const auto known = by_identity_.find(identity);
  if (known != by_identity_.end() && known->second.connections >= limits_.identity_connections) {
    counters_.count(LimitReason::kIdentityConnections);
    return fail(ErrorCode::kLimit, "too many tunnel connections of this identity");
  }
  auto place = node_.take(identity);
  if (!place) {
    counters_.count(LimitReason::kNodeIdentityConnections);
    return fail(ErrorCode::kLimit, "too many tunnel connections of this identity to the pods of this node");
  }
  ++by_identity_[identity].connections;
  ++by_address_[address].connections;
  return Seat(this, address, std::move(identity), std::move(place));
}

void Peers::on_breach(const IpAddress& address, const std::string& identity, MonotonicTime now) {
  auto key = offender(address, identity);
  if (!offenders_.contains(key) && offenders_.size() >= kOffendersMax) {
    offenders_.erase(std::min_element(offenders_.begin(), offenders_.end(),
                                      [](const auto& a, const auto& b) { return a.second.last < b.second.last; }));
  }
  Offence& offence = offenders_[std::move(key)];
  if (now - offence.last > kBackOffForgiven) offence.breaches = 0;
  offence.last = now;
  if (++offence.breaches < 2) return;
  const auto doublings = std::min<std::uint32_t>(offence.breaches - 2, 10);
  offence.until = now + std::min<Duration>(kBackOffFirst * (1u << doublings), kBackOffMax);
}

Peers::Seat::Seat(Seat&& other) noexcept
    : owner_(std::exchange(other.owner_, nullptr)),
      address_(other.address_),
      identity_(std::move(other.identity_)),
      place_(std::move(other.place_)) {}

Peers::Seat::~Seat() {
  if (owner_) owner_->leave(*this);
}

void Peers::leave(const Seat& seat) {
  const auto release = [](auto& uses, const auto& key) {
    const auto found = uses.find(key);
    if (--found->second.connections == 0) uses.erase(found);
  };
  release(by_address_, seat.address_);
  release(by_identity_, seat.identity_);
}

Peers::Seat::Tunnel Peers::Seat::open_tunnel() {
  Use& of_address = owner_->by_address_.at(address_);
  Use& of_identity = owner_->by_identity_.at(identity_);
  if (of_address.tunnels >= owner_->limits_.source_tunnels) {
    owner_->counters_.count(LimitReason::kSourceTunnels);
    return Tunnel(nullptr);
  }
  if (of_identity.tunnels >= owner_->limits_.identity_tunnels) {
    owner_->counters_.count(LimitReason::kIdentityTunnels);
    return Tunnel(nullptr);
  }
  if (!place_.open_tunnel()) {
    owner_->counters_.count(LimitReason::kNodeIdentityTunnels);
    return Tunnel(nullptr);
  }
  ++of_address.tunnels;
  ++of_identity.tunnels;
  return Tunnel(this);
}

void Peers::Seat::close_tunnel() {
  --owner_->by_address_.at(address_).tunnels;
  --owner_->by_identity_.at(identity_).tunnels;
  place_.close_tunnel();
}

}  // namespace weft::ztunnel
