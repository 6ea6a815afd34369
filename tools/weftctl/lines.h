// Standard input by lines, each handed out as soon as it is complete.
#pragma once

#include <optional>
#include <string>

#include "lib/explain/explain.h"

namespace weft::ctl {

class Lines {
 public:
  // `fd` stays open and outlives this.
  explicit Lines(int fd) : fd_(fd) {}
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  // Without its end; nothing at the end of the input. What does not end in a line end is a line too. Of a longer line than
  // a question may be, so much is handed out that this shows, and the rest is dropped.
  std::optional<std::string> next();
  // Whether next() has a line without waiting for one.
  bool ready() const { return !dropping_ && buffer_.find('\n') != std::string::npos; }

  static constexpr std::size_t kLineMax = explain::kQuestionMax + 1;

 private:
  const int fd_;
  std::string buffer_;
  bool ended_ = false;
  bool dropping_ = false;  // the rest of a line that was too long
};

}  // namespace weft::ctl
