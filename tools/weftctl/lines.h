// Standard input by lines, each handed out as soon as it is complete.
#pragma once

#include <optional>
#include <string>

namespace weft::ctl {

class Lines {
 public:
  // `fd` stays open and outlives this.
  explicit Lines(int fd) : fd_(fd) {}
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  // Without its end; nothing at the end of the input. What does not end in a line end is a line too. Of a line above
  // kLineMax only that much is handed out, and the rest of it is dropped.
  std::optional<std::string> next();

  // A request with a large token; what is longer was not meant for us.
  static constexpr std::size_t kLineMax = 1 << 20;

 private:
  const int fd_;
  std::string buffer_;
  bool ended_ = false;
  bool dropping_ = false;  // the rest of a line that was too long
};

}  // namespace weft::ctl
