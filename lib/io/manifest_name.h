// Which files of a folder of manifests count: *.yaml, *.yml, *.json.
#pragma once

#include <string_view>

namespace weft::io {

inline bool is_manifest_name(std::string_view path) {
  return path.ends_with(".yaml") || path.ends_with(".yml") || path.ends_with(".json");
}

}  // namespace weft::io
