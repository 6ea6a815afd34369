// The log lines of a part of a test, read back from this process's standard output.
//
// While it lives standard output goes to memory: take() the lines before checking anything, or a failed check is not seen.
// One at a time, and no other thread may log.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/check.h"
#include "lib/base/fd.h"
#include "lib/base/log.h"

namespace weft::testing {

class CapturedLog {
 public:
  explicit CapturedLog(const std::string& filter = "info", log::Format format = log::Format::kPlain)
      : filter_before_(log::current_filter()), memory_(::memfd_create("log", MFD_CLOEXEC)) {
    log::flush();
    std::fflush(stdout);
    screen_ = Fd(::dup(STDOUT_FILENO));
    WEFT_CHECK(screen_ && memory_ && ::dup2(memory_.get(), STDOUT_FILENO) >= 0);
    log::init(format, filter);
  }
  CapturedLog(const CapturedLog&) = delete;
  CapturedLog& operator=(const CapturedLog&) = delete;
  ~CapturedLog() { take(); }

  // Every line since the beginning; gives the screen back.
  std::vector<std::string> take() {
    if (!screen_) return {};
    log::flush();
    std::fflush(stdout);
    WEFT_CHECK(::dup2(screen_.get(), STDOUT_FILENO) >= 0);
    screen_ = Fd();
    log::init(log::Format::kPlain, filter_before_);
    std::vector<std::string> lines;
    for (std::string text = read_all(); !text.empty();) {
      const auto end = text.find('\n');
      lines.push_back(text.substr(0, end));
      text.erase(0, end == text.npos ? text.size() : end + 1);
    }
    return lines;
  }

 private:
  std::string read_all() const {
    std::string text(static_cast<std::size_t>(::lseek(memory_.get(), 0, SEEK_END)), '\0');
    WEFT_CHECK(::pread(memory_.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
    return text;
  }

  const std::string filter_before_;
  Fd memory_, screen_;
};

}  // namespace weft::testing
