// io::PacketNetwork on the kernel's SOCK_SEQPACKET sockets.
#pragma once

#include "lib/asio/loop.h"
#include "lib/io/packet_socket.h"

namespace weft::asio {

class UnixPackets final : public io::PacketNetwork {
 public:
  explicit UnixPackets(Loop& loop) : loop_(loop) {}
  Task<Result<io::PacketSocketPtr>> connect(std::string path, StopToken stop) override;
  Result<io::PacketListenerPtr> listen(const std::string& path, unsigned mode) override;

 private:
  Loop& loop_;
};

}  // namespace weft::asio
