#include "lib/base/random.h"

#include <sys/random.h>

#include <bit>
#include <cerrno>

#include "lib/base/check.h"

namespace weft {

std::uint64_t Random::below(std::uint64_t bound) {
  // Multiply-shift: the bias is below 2^-40 for any bound a proxy draws from.
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
}

double Random::unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

SeededRandom::SeededRandom(std::uint64_t seed) {
  // splitmix64 spreads any seed, zero included, over the whole state.
  for (auto& word : state_) {
    seed += 0x9e3779b97f4a7c15u;
    std::uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    word = z ^ (z >> 31);
  }
}

std::uint64_t SeededRandom::next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  ssize_t got = 0;
  do got = ::getrandom(&seed, sizeof seed, 0);
  while (got < 0 && errno == EINTR);
  WEFT_CHECK(got == sizeof seed);
  return seed;
}

}  // namespace weft
