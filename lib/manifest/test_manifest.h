// For tests of this folder: objects from YAML text, and what was found about them.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <string_view>

#include "lib/manifest/parse.h"

namespace weft::manifest {

inline ParseResult yaml(std::string_view text) { return parse(text, "test.yaml"); }

template <typename T>
const T& body_of(const ParseResult& result, std::size_t index = 0) {
  REQUIRE(result.objects.size() > index);
  const auto* body = result.objects[index]->as<T>();
  REQUIRE(body);
  return *body;
}

inline bool has_problem(const Object& object, std::string_view reason, std::string_view path) {
  for (const auto& problem : object.problems) {
    if (problem.reason == reason && problem.path == path) return true;
  }
  return false;
}

}  // namespace weft::manifest
