// Which fields a kind knows: the one table behind "unknown field" reports.
#pragma once

#include <string_view>

#include "lib/manifest/problem.h"
#include "lib/manifest/value.h"

namespace weft::manifest {

enum class Scope { kCluster, kNamespaced };

// What the table knows about a kind. Kinds are told apart by group and name: Gateway exists in two groups, and all served
// versions of a kind mean the same.
struct KindInfo {
  Scope scope = Scope::kNamespaced;
  bool known = false;  // has its fields in the table
};
KindInfo find_kind(std::string_view group, std::string_view kind);

// Notes every field of `object` that its kind does not know: reason FieldIgnored, level warning, with the nearest known
// name as a hint. Objects of kinds outside the table get no remarks.
void report_unknown_fields(std::string_view group, std::string_view kind, const Value& object, Problems& problems);

}  // namespace weft::manifest
