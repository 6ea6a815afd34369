// The TLS library's chance from a seed, so that keys, signatures and with them the sizes of messages repeat. Never in a
// program that anybody relies on.
#pragma once

#include <cstdint>

namespace weft::sim {

// From here on the process's OpenSSL draws from this seed.
void seed_openssl(std::uint64_t seed);

}  // namespace weft::sim
