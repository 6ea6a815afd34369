// Memory that a burst needed goes back to the system when the burst is over: the C library keeps what was freed inside its
// arenas, tens of megabytes after some thousand connections, until it is told otherwise.
#pragma once

#include "lib/async/loop.h"

namespace weft::runtime {

// Looks every kTrimInterval and trims (malloc_trim(3)) when more is resident and free than was left by the last time: it
// holds the arenas' locks while it walks through what is free, so the more is in use the more there must be to win.
// Thread: the loop's; all arenas are trimmed.
class MemoryTrimmer {
 public:
  static constexpr Duration kTrimInterval = std::chrono::seconds(10);
  // Bytes resident and unused, below which nothing is done: so many, and this part of what is in use.
  static constexpr std::size_t kKeptMin = 256u << 10;
  static constexpr std::size_t kKeptPart = 32;

  explicit MemoryTrimmer(Loop& loop);

 private:
  void look();

  Loop& loop_;
  Timer timer_;
  std::size_t kept_after_trim_ = 0;  // resident and not of the heap, or not to be given back
};

}  // namespace weft::runtime
