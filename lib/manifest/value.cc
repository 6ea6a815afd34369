#include "lib/manifest/value.h"

namespace weft::manifest {

const Value* Value::find(std::string_view key) const {
  for (const auto& member : members) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

}  // namespace weft::manifest
