#include "tests/support/sim/openssl_random.h"

#include <openssl/rand.h>

#include <optional>

#include "lib/base/check.h"
#include "lib/base/random.h"

namespace weft::sim {
namespace {

SeededRandom& source() {
  static SeededRandom random(0);
  return random;
}

int fill(unsigned char* out, int size) {
  for (int i = 0; i < size; ++i) out[i] = static_cast<unsigned char>(source().next() >> 24);
  return 1;
}

int ready() { return 1; }

}  // namespace

void seed_openssl(std::uint64_t seed) {
  static const RAND_METHOD method{nullptr, fill, nullptr, nullptr, fill, ready};
  source() = SeededRandom(seed);
  WEFT_CHECK(RAND_set_rand_method(&method) == 1);
}

}  // namespace weft::sim
