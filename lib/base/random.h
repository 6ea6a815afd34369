// Chance as an interface: endpoint choice, trace ids, jitter. Not for keys; those come from the TLS library.
#pragma once

#include <cstdint>

namespace weft {

class Random {
 public:
  virtual ~Random() = default;
  // 64 uniformly distributed bits.
  virtual std::uint64_t next() = 0;

  // Uniform in [0, bound); 0 when bound is 0.
  std::uint64_t below(std::uint64_t bound);
  // Uniform in [0, 1).
  double unit();
};

// xoshiro256**; the same seed gives the same sequence. One per thread.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed);
  std::uint64_t next() override;

 private:
  std::uint64_t state_[4];
};

// A seed from the kernel, for production use of SeededRandom.
std::uint64_t random_seed();

}  // namespace weft
