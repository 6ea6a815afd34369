// Whether a tunnel that a peer opened still moves what waits in it.
//
// A reader may pause for as long as it likes: a debugger, a person, a consumer behind its work. What waits for it is held
// meanwhile, up to some hundred KiB towards the peer and a window of 4 MiB towards the application, and a peer that never
// reads on purpose holds the same. From outside the two differ by their number only. So a tunnel stands still when bytes
// have waited in one direction for WEFT_STALL_TIMEOUT and fewer than kStallProgress of them moved, and it is cut only while
// its identity has more such tunnels on the node than WEFT_NODE_IDENTITY_STALLED_MAX. A tunnel in which nothing waits never
// stands still, whatever its age.
//
// Who looks is the worker's round of connections that stay open (open_connections.h), every ten minutes: a short tunnel is
// never looked at, bytes pay nothing, no tunnel has a timer. A cut comes a round or two late, never early.
//
// Thread: the pod's worker. Lives beside the tunnel's pump(); everything it is given outlives it.
#pragma once

#include <cstdint>
#include <string>

#include "ztunnel/inbound/delivery.h"

namespace weft::ztunnel {

// Of waiting bytes, within the time-out. Readers open windows in steps, a segment of some KiB or half of an HTTP/2 window:
// one that moves at all shows this much in the long run, and one byte now and then is no progress.
inline constexpr std::uint64_t kStallProgress = 4096;

class StallWatch final : public OpenConnection {
 public:
  StallWatch(PodProxy& pod, Peers::Seat& seat, io::Stream& peer, io::Stream& application, Judged& judged);
  ~StallWatch();

  void on_still_open() override;
  bool cut() const { return cut_for_ != nullptr; }
  // Why it was.
  std::string reason() const;

 private:
  struct Direction {
    std::uint64_t moved = 0;  // when it was last seen to move, or with nothing waiting
    MonotonicTime since{};    // the same; the beginning of waiting as far as it was seen
    bool waited = false;
    bool stands_still(const io::Backlog& backlog, MonotonicTime now, Duration timeout);
  };
  void count(bool stalled);

  PodProxy& pod_;
  Peers::Seat& seat_;
  io::Stream& peer_;
  io::Stream& application_;
  Judged& judged_;
  Direction to_peer_, to_application_;
  bool counted_ = false;           // among the identity's stalled ones
  const char* cut_for_ = nullptr;  // whose bytes stood still
};

}  // namespace weft::ztunnel
