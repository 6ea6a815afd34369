#include "lib/runtime/memory.h"

#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <memory>
#include <vector>

#include "lib/async/manual_loop.h"
#include "lib/base/sanitizers.h"

using namespace weft;
using namespace weft::runtime;
using namespace std::chrono_literals;

namespace {

std::size_t resident_bytes() {
  std::size_t size = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE("memory that a burst needed is given back, also from below what is still in use") {
  if (kAddressSanitizer || kThreadSanitizer) SKIP("a sanitizer's heap is its own");
  ManualLoop loop;
  MemoryTrimmer trimmer(loop);
  loop.advance(MemoryTrimmer::kTrimInterval);
  constexpr std::size_t kBurst = 8u << 20, kPiece = 1024;
  std::vector<std::unique_ptr<char[]>> burst;
  for (std::size_t i = 0; i < kBurst / kPiece; ++i) burst.push_back(std::make_unique<char[]>(kPiece));
  const auto last = std::make_unique<char[]>(kPiece);  // above them
  const auto high = resident_bytes();
  burst.clear();
  CHECK(resident_bytes() > high - kBurst / 2);
  loop.advance(MemoryTrimmer::kTrimInterval);
  CHECK(resident_bytes() < high - kBurst / 2);
}
