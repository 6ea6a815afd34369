// Runs nft(8). It is a program of its own and never linked, because its library is under the GPL.
#pragma once

#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace weft::cni::redirect {

// What nft may print: our tables are 5 KiB; a pod that may change its own rules could have it print anything.
inline constexpr std::size_t kNftOutputMax = 1024 * 1024;

// What nft tells of sets.
enum class Listing { kRules, kElements };

// Executes `script` ("-f -") in the network namespace of the calling thread and returns what nft printed: stateless (no
// counters; contents of sets only if asked for) and numeric. Blocks at most kNftTimeLimit, then kills it. Errors as in
// redirect.h.
Result<std::string> run_nft(std::string_view script, Listing listing = Listing::kRules);

}  // namespace weft::cni::redirect
