// JSON text to a tree, bounded, and back as CNI programs print it. The only header that names the library.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace weft::cni::plugin {

using Json = nlohmann::json;

// Destroying and printing a tree recurse; results of a chain nest below 10.
inline constexpr int kDepthMax = 64;

Result<Json> parse_json(std::string_view text);
// Indented by four, with a line end.
std::string print_json(const Json& value);

}  // namespace weft::cni::plugin
