#include "cni-plugin/redirect/proc.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "lib/base/fd.h"

namespace weft::cni::redirect {

std::optional<std::string> read_proc(const char* path) {
  constexpr std::size_t kFileMax = 64 * 1024 * 1024;
  const Fd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  std::string text;
  char part[16 * 1024];
  while (text.size() < kFileMax) {
    const auto got = ::read(fd.get(), part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(part, static_cast<std::size_t>(got));
  }
  return text;
}

}  // namespace weft::cni::redirect
