#include "ztunnel/limits/handshakes.h"

namespace weft::ztunnel {

Handshakes::Place::Place(Handshakes& owner, const IpAddress& address, const StopToken& parent)
    : owner_(owner), address_(address), begun_(owner.loop_.now()), on_parent_(parent, [this] { stop_.request_stop(); }) {
  ++owner_.kept_;
  ++owner_.by_address_[address_];
  owner_.places_.push_back(*this);
}

Handshakes::Place::~Place() {
  const auto found = owner_.by_address_.find(address_);
  if (--found->second == 0) owner_.by_address_.erase(found);
  if (given_away_) return;
  --owner_.kept_;
  owner_.freed_.set();
}

bool Handshakes::source_is_full(const IpAddress& address) {
  const auto found = by_address_.find(address);
  if (found == by_address_.end() || found->second < source_max_) return false;
  counters_.count(LimitReason::kSourceHandshakes);
  return true;
}

Task<void> Handshakes::room(StopToken stop) {
  while (kept_ >= max_ && !stop.stop_requested()) {
    const auto age = loop_.now() - places_.front().begun_;
    if (age < kHandshakeSafeFor) {
      freed_.reset();
      Deadline grace(loop_, kHandshakeSafeFor - age, stop);
      auto freed = co_await freed_.wait(grace.token());
      (void)freed;
      continue;
    }
    Place& oldest = places_.pop_front();
    oldest.given_away_ = true;
    --kept_;
    counters_.count(LimitReason::kSlowHandshake);
    StopSource stop_oldest = oldest.stop_;  // outlives the place, which may end inside
    stop_oldest.request_stop();
  }
}

}  // namespace weft::ztunnel
