// Takes typed fields out of a tree of values and notes, by path and line, what has the wrong shape.
//
// Readers are short-lived views: the tree and the list of problems must outlive them. Reading an absent field gives the
// fallback and no problem. A field of the wrong shape gives the fallback and an InvalidValue problem; `failed()` of the
// reader it was read through, and of those it came from, then says so: readers of security rules take the closed side.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/manifest/problem.h"
#include "lib/manifest/value.h"

namespace weft::manifest {

class Reader {
 public:
  Reader(const Value* value, std::string path, Problems* problems)
      : value_(value), path_(std::move(path)), problems_(problems), errors_before_(problems->errors()) {}

  // True when there is something here other than null.
  explicit operator bool() const { return value_ && !value_->is_null(); }
  const Value* value() const { return value_; }
  const std::string& path() const { return path_; }
  int line() const { return value_ ? value_->line : 0; }

  // A map inside this map; a reader over nothing when absent.
  Reader map(std::string_view name) const;
  // The entries of a list inside this map.
  std::vector<Reader> list(std::string_view name) const;
  // The values of a map with free keys inside this map, with their keys.
  std::vector<std::pair<std::string, Reader>> entries(std::string_view name) const;
  // The same place, with failed() for what is noted from now on: entries of one list are made together.
  Reader anew() const { return Reader(value_, path_, problems_); }
  // A field of any shape.
  Reader any(std::string_view name) const;

  std::string text(std::string_view name, std::string_view fallback = "") const;
  bool boolean(std::string_view name, bool fallback = false) const;
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t min, std::int64_t max) const;
  std::vector<std::string> texts(std::string_view name) const;
  std::map<std::string, std::string> text_map(std::string_view name) const;

  // This value itself.
  std::optional<std::string> as_text() const;
  std::optional<std::int64_t> as_integer(std::int64_t min, std::int64_t max) const;

  void problem(Level level, std::string reason, std::string message) const;
  // True when a problem of level error was noted since this reader was made.
  bool failed() const { return problems_->errors() != errors_before_; }

 private:
  Reader child(std::string_view name) const;
  void wrong_shape(std::string_view expected) const;

  const Value* value_;
  std::string path_;
  Problems* problems_;
  std::size_t errors_before_;
};

// "spec" + "ports" is "spec.ports"; a name that has a dot or slash goes in brackets: "labels[app.kubernetes.io/name]".
std::string join_path(std::string_view path, std::string_view name);

}  // namespace weft::manifest
