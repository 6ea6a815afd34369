// The front door: the text of a file in, typed objects and problems out.
//
// Pure; no I/O. A document that is no Kubernetes object is skipped and named; an object of an unknown kind is kept as a
// tree; only broken syntax (or a broken bound) makes a text unreadable as a whole. Kinds named ...List are opened.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/manifest/object.h"

namespace weft::manifest {

struct ParseOptions {
  std::string default_namespace = "default";  // of namespaced objects that name none
  Limits limits;
};

struct ParseResult {
  // In the order written. When `readable` is false: what came before the error.
  std::vector<ObjectPtr> objects;
  // About the file and its documents; problems of an object are with the object.
  std::vector<Problem> problems;
  // False when syntax or a limit stopped the reader: the last good state of the file should be kept.
  bool readable = true;
};

// A name that ends in ".json" is read as JSON, anything else as YAML (which includes most JSON).
ParseResult parse(std::string_view text, std::string_view file_name, const ParseOptions& options = {});

}  // namespace weft::manifest
