#include "lib/linux/send_progress.h"

#include <linux/tcp.h>  // not netinet/tcp.h, whose tcp_info ends before these fields
#include <netinet/in.h>
#include <sys/socket.h>

namespace weft::linux {

SendProgress send_progress(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return {};
  return {.acknowledged = info.tcpi_bytes_acked, .unsent = info.tcpi_notsent_bytes};
}

}  // namespace weft::linux
