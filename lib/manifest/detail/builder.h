// Builds one tree of values from a stream of begin/end/scalar events and keeps the limits.
#pragma once

#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/manifest/problem.h"
#include "lib/manifest/value.h"

namespace weft::manifest::detail {

class Builder {
 public:
  explicit Builder(const Limits& limits) : limits_(limits) {}

  // Each returns false once an error was found; the caller then stops. In a map, keys and values alternate.
  bool begin(Value::Kind kind, int line);
  bool end();
  bool scalar(std::string text, bool quoted, int line);
  bool null(int line);
  // A finished value taken in whole, with its cost: how YAML aliases are expanded.
  bool copy(const Value& value, int line);

  // Counts a value that the caller keeps a copy of.
  bool charge(const Value& value);

  // The value that the latest begin..end, scalar or null made; valid until the next call. Null for a map's key.
  const Value* latest() const { return latest_; }
  // True when nothing is open: the document is complete.
  bool complete() const { return open_.empty() && root_.has_value(); }
  // Hands out the document and starts anew; counts go on, so that they bound the whole file.
  std::optional<Value> take();

  bool fail(int line, std::string message);
  const std::optional<Problem>& error() const { return error_; }

 private:
  struct Open {
    Value value;
    std::optional<std::pair<std::string, int>> key;
    std::set<std::string> keys;  // of a long map, to find duplicates quickly
  };
  bool place(Value value);
  bool charge_one(std::size_t text, int line);
  bool take_key(Value value);
  bool add_member(Open& map, std::string key, int line, Value value);
  void merge(Value& map);

  const Limits limits_;
  std::vector<Open> open_;
  std::optional<Value> root_;
  const Value* latest_ = nullptr;
  std::optional<Problem> error_;
  std::size_t values_ = 0;
  std::size_t text_bytes_ = 0;
};

}  // namespace weft::manifest::detail
