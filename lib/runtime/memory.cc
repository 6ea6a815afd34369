#include "lib/runtime/memory.h"

#include <malloc.h>
#include <unistd.h>

#include <cstdio>

namespace weft::runtime {
namespace {

// Anonymous memory that is resident, less what the heap has handed out; see proc(5), statm.
std::size_t kept_bytes() {
  unsigned long size = 0, resident = 0, shared = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (!file) return 0;
  const int read = std::fscanf(file, "%lu %lu %lu", &size, &resident, &shared);
  std::fclose(file);
  if (read != 3 || resident < shared) return 0;
  const std::size_t anonymous = (resident - shared) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto heap = ::mallinfo2();
  const std::size_t used = heap.uordblks + heap.hblkhd;
  return anonymous > used ? anonymous - used : 0;
}

}  // namespace

MemoryTrimmer::MemoryTrimmer(Loop& loop) : loop_(loop), timer_([this] { look(); }) {
  loop_.arm(timer_, loop_.now() + kTrimInterval);
}

void MemoryTrimmer::look() {
  const std::size_t kept = kept_bytes();
  if (kept > kept_after_trim_ + kKeptMin) {
    ::malloc_trim(0);
    kept_after_trim_ = kept_bytes();
  } else if (kept < kept_after_trim_) {
    kept_after_trim_ = kept;
  }
  loop_.arm(timer_, loop_.now() + kTrimInterval);
}

}  // namespace weft::runtime
