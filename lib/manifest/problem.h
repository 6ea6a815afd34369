// What a reader of files has to say about them: where, what, and how bad.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace weft::manifest {

// kError: something was not read. kWarning: read, but a part has no effect or was interpreted. kInfo: a remark.
enum class Level { kInfo, kWarning, kError };

// Constant storage: "info", "warning", "error".
inline const char* to_string(Level level) {
  switch (level) {
    case Level::kInfo: return "info";
    case Level::kWarning: return "warning";
    case Level::kError: return "error";
  }
  return "error";
}

struct Problem {
  Level level = Level::kWarning;
  std::string reason;   // a word for programs: FieldIgnored, Interpreted, InvalidValue, NotAnObject, Unreadable
  std::string path;     // of the field, "spec.rules[0].to", or empty when the document as a whole is meant
  std::string message;  // a sentence for people; does not repeat the path
  int line = 0;         // counted from 1; 0 when unknown

  friend bool operator==(const Problem&, const Problem&) = default;
};

// The problems of one object. Keeps the first hundred and counts all, so that a hostile object cannot fill memory.
class Problems {
 public:
  static constexpr std::size_t kKept = 100;

  void add(Problem problem) {
    if (problem.level == Level::kError) ++errors_;
    if (items_.size() < kKept) items_.push_back(std::move(problem));
  }
  // Nothing that is added from now on is kept.
  bool is_full() const { return items_.size() >= kKept; }
  // How many of level kError were added.
  std::size_t errors() const { return errors_; }
  const std::vector<Problem>& items() const { return items_; }

 private:
  std::vector<Problem> items_;
  std::size_t errors_ = 0;
};

}  // namespace weft::manifest
