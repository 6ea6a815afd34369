#include "ztunnel/inbound/stall_watch.h"

#include "lib/base/log.h"

namespace weft::ztunnel {

StallWatch::StallWatch(PodProxy& pod, Peers::Seat& seat, io::Stream& peer, io::Stream& application, Judged& judged)
    : pod_(pod), seat_(seat), peer_(peer), application_(application), judged_(judged) {
  if (pod.settings().stall_timeout > Duration{}) pod.open_connections().add(*this);
}

StallWatch::~StallWatch() { count(false); }

bool StallWatch::Direction::stands_still(const io::Backlog& backlog, MonotonicTime now, Duration timeout) {
  const bool moves = backlog.moved - moved >= kStallProgress;
  if (waited && backlog.waiting && !moves) return now - since >= timeout;
  moved = backlog.moved;
  since = now;
  waited = backlog.waiting;
  return false;
}

void StallWatch::count(bool stalled) {
  if (stalled == counted_) return;
  counted_ = stalled;
  if (stalled) {
    seat_.begin_stall();
  } else {
    seat_.end_stall();
  }
}

void StallWatch::on_still_open() {
  if (cut()) return;
  const auto now = pod_.loop().now();
  const auto timeout = pod_.settings().stall_timeout;
  // Both are asked: each remembers when it moved.
  const bool peer = to_peer_.stands_still(peer_.backlog(), now, timeout);
  const bool application = to_application_.stands_still(application_.backlog(), now, timeout);
  count(peer || application);
  if (!counted_ || !seat_.too_many_stalled()) return;
  count(false);  // before its task has ended: the next one to be looked at may stay
  cut_for_ = peer ? "caller" : "application";
  pod_.limit_counters().count(LimitReason::kStalled);
  judged_.cut();
}

std::string StallWatch::reason() const {
  const auto timeout = std::chrono::duration_cast<std::chrono::seconds>(pod_.settings().stall_timeout);
  return fmt::format(
      "stalled: bytes waited for the {} for {} s, fewer than {} moved, and its identity has more such tunnels than it may",
      cut_for_, timeout.count(), kStallProgress);
}

}  // namespace weft::ztunnel
