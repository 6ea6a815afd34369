// Invariants. WEFT_CHECK ends the process: memory safety and identity only. A peer can never trip it; what arrives from
// outside is an Error to handle.
#pragma once

namespace weft {
[[noreturn]] void check_failed(const char* expression, const char* file, int line);
}  // namespace weft

#define WEFT_CHECK(condition)                               \
  do {                                                      \
    if (!(condition)) [[unlikely]]                          \
      ::weft::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)
