// Runs nft(8).
#pragma once

#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace weft::cni::redirect {

// What nft tells of sets.
enum class Listing { kRules, kElements };

// Executes `script` in the network namespace of the calling thread and returns what nft printed: stateless (no counters;
// contents of sets only if asked for) and numeric. Errors as run_command().
Result<std::string> run_nft(std::string_view script, Listing listing = Listing::kRules);

}  // namespace weft::cni::redirect
