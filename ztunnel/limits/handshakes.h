// The unfinished handshakes at one pod's tunnel port.
//
// A handshake is the dearest thing a stranger can ask for, before anybody knows who it is. So: few at a time from one
// address, a bounded number for the pod, their steps one a turn of the loop (lib/async/pace.h), and no waiting on the slow:
// while the pod's places are taken nothing is accepted (the kernel queues), and the oldest that has had its second gives its
// place away. Honest handshakes take milliseconds. Thread: the pod's worker.
#pragma once

#include <algorithm>
#include <cstdint>
#include <unordered_map>

#include "lib/async/event.h"
#include "lib/async/pace.h"
#include "lib/async/stop.h"
#include "lib/base/intrusive_list.h"
#include "lib/base/ip.h"
#include "ztunnel/limits/reasons.h"

namespace weft::ztunnel {

// Unfinished handshakes of one address with one pod: a client's pool makes one connection per destination at a time, so
// this is thirty pods of a node behind one address. Where a pod has few places it is half of them, so that no stranger alone
// makes others wait.
inline constexpr std::uint32_t kSourceHandshakesMax = 32;
// Unfinished handshakes of a pod; each holds a descriptor and about 30 KiB.
inline constexpr std::size_t kPodHandshakesMax = 256;
// How long one is safe when others wait.
inline constexpr Duration kHandshakeSafeFor = std::chrono::seconds(1);

class Handshakes {
 public:
  // `descriptors`: what the pod may have; handshakes get a quarter of it at most, so that strangers leave room for tunnels.
  Handshakes(Loop& loop, Pace& pace, LimitCounters& counters, std::uint64_t descriptors)
      : loop_(loop),
        counters_(counters),
        max_(std::clamp<std::uint64_t>(descriptors / 4, 1, kPodHandshakesMax)),
        source_max_(std::clamp<std::uint64_t>(max_ / 2, 1, kSourceHandshakesMax)),
        queue_(pace),
        freed_(loop) {}

  // One that is under way, from being accepted to being known; destroyed when it is over.
  class Place : public ListLink {
   public:
    Place(Handshakes& owner, const IpAddress& address, const StopToken& parent);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    // Fires when the place is wanted by another, or with `parent`.
    StopToken token() const { return stop_.token(); }
    bool given_away() const { return given_away_; }

   private:
    friend class Handshakes;
    Handshakes& owner_;
    const IpAddress address_;
    const MonotonicTime begun_;
    bool given_away_ = false;
    StopSource stop_;
    StopCallback on_parent_;
  };

  // Waits for a free place; before accepting. Returns early when `stop` fires.
  Task<void> room(StopToken stop);
  // Whether another of this address would be too many; counted.
  bool source_is_full(const IpAddress& address);
  Pace::Queue& pace() { return queue_; }

 private:
  Loop& loop_;
  LimitCounters& counters_;
  const std::uint64_t max_;
  const std::uint64_t source_max_;
  Pace::Queue queue_;
  Event freed_;
  std::size_t kept_ = 0;         // in `places_`
  IntrusiveList<Place> places_;  // the oldest first; without those that were given away, which are about to end
  std::unordered_map<IpAddress, std::uint32_t> by_address_;
};

}  // namespace weft::ztunnel
