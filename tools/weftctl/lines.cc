#include "tools/weftctl/lines.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace weft::ctl {

std::optional<std::string> Lines::next() {
  for (;;) {
    if (const auto end = buffer_.find('\n'); end != std::string::npos) {
      auto line = buffer_.substr(0, std::min(end, kLineMax));
      buffer_.erase(0, end + 1);
      if (!std::exchange(dropping_, false)) return line;
      continue;
    }
    if (dropping_) buffer_.clear();
    if (ended_) {
      if (buffer_.empty()) return std::nullopt;
      return std::exchange(buffer_, {});
    }
    if (buffer_.size() > kLineMax) {
      dropping_ = true;
      auto line = buffer_.substr(0, kLineMax);
      buffer_.clear();
      return line;
    }
    char part[64 * 1024];
    const auto got = ::read(fd_, part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) ended_ = true;
    if (got > 0) buffer_.append(part, static_cast<std::size_t>(got));
  }
}

}  // namespace weft::ctl
