#include "lib/base/fd.h"

#include <fcntl.h>
#include <unistd.h>

namespace weft {

void Fd::reset() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Fd Fd::duplicate() const { return Fd(fd_ < 0 ? -1 : ::fcntl(fd_, F_DUPFD_CLOEXEC, 3)); }

}  // namespace weft
