#include "lib/runtime/memory.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace weft::runtime {
namespace {

struct Use {
  std::size_t kept = 0;    // anonymous memory that is resident, less what the heap has handed out; see proc(5), statm
  std::size_t in_use = 0;  // of the heap
};

Use memory_use() {
  unsigned long size = 0, resident = 0, shared = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (!file) return {};
  const int read = std::fscanf(file, "%lu %lu %lu", &size, &resident, &shared);
  std::fclose(file);
  if (read != 3 || resident < shared) return {};
  const std::size_t anonymous = (resident - shared) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto heap = ::mallinfo2();
  const std::size_t used = heap.uordblks + heap.hblkhd;
  return {anonymous > used ? anonymous - used : 0, used};
}

}  // namespace

MemoryTrimmer::MemoryTrimmer(Loop& loop) : loop_(loop), timer_([this] { look(); }) {
  loop_.arm(timer_, loop_.now() + kTrimInterval);
}

void MemoryTrimmer::look() {
  const Use use = memory_use();
  if (use.kept > kept_after_trim_ + std::max(kKeptMin, use.in_use / kKeptPart)) {
    ::malloc_trim(0);
    kept_after_trim_ = memory_use().kept;
  } else if (use.kept < kept_after_trim_) {
    kept_after_trim_ = use.kept;
  }
  loop_.arm(timer_, loop_.now() + kTrimInterval);
}

}  // namespace weft::runtime
