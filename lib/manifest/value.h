// A document as a tree of plain values: what YAML and JSON have in common, with line numbers.
//
// Scalars keep their text. What a scalar means (number, boolean, name) is decided by who reads it, because Kubernetes
// files mix them freely: a port may be 8080 or "8080", a label value v1 or "1".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace weft::manifest {

struct Member;

struct Value {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  bool quoted = false;          // a scalar written as text: "8080", '8080', or in a block
  int line = 0;                 // counted from 1
  std::string text;             // of a scalar
  std::vector<Value> items;     // of a list
  std::vector<Member> members;  // of a map, in the order written; keys are unique

  bool is_null() const { return kind == Kind::kNull; }
  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_list() const { return kind == Kind::kList; }
  bool is_map() const { return kind == Kind::kMap; }
  // The member of a map; null when absent or not a map. Valid while this value is unchanged.
  const Value* find(std::string_view key) const;
};

struct Member {
  std::string key;
  int line = 0;
  Value value;
};

// Bounds on what a file may cost, because files may be hostile. The API server takes objects up to 3 MiB; a folder written
// by tools may hold thousands of objects in one file.
struct Limits {
  std::size_t bytes = 64u << 20;        // of one file
  std::size_t values = 4'000'000;       // of one file, counted after aliases were expanded
  std::size_t text_bytes = 128u << 20;  // of all scalars of one file, counted likewise
  std::size_t documents = 100'000;      // of one file
  int depth = 64;                       // objects of Kubernetes nest below 30
};

}  // namespace weft::manifest
