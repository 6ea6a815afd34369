// Text to documents: YAML (several documents a text) and JSON (one).
//
// Both readers stop at the first error of syntax or at a limit; what came before it is returned beside the error, for
// tools that want to say as much as they can. Neither follows references out of the text.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "lib/manifest/problem.h"
#include "lib/manifest/value.h"

namespace weft::manifest {

struct Documents {
  std::vector<Value> values;     // empty documents are left out
  std::optional<Problem> error;  // reason Unreadable
};

// YAML 1.2 with what Kubernetes files use of 1.1: anchors, aliases and merge keys. A key written twice is an error.
Documents read_yaml(std::string_view text, const Limits& limits);
// RFC 8259.
Documents read_json(std::string_view text, const Limits& limits);

}  // namespace weft::manifest
