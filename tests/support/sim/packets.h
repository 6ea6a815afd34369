// Unix packet sockets of a simulated host.
//
// Packets arrive in order after a short random delay; descriptors are duplicated on the way, as the kernel does.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "lib/io/packet_socket.h"
#include "tests/support/sim/world.h"

namespace weft::sim {

namespace detail {
class SimPacketListener;
class SimPacketSocket;
struct PacketEnd;
}  // namespace detail

// The socket files of one host.
struct SocketFiles {
  std::map<std::string, detail::SimPacketListener*> listeners;
  std::set<std::string> left_behind;  // files of listeners that were killed: nobody answers
  std::vector<std::weak_ptr<detail::PacketEnd>> ends;
  std::size_t open = 0;  // sockets and listeners alive

  // What the kernel does for a process that was killed, `loops` being its threads.
  void end_sockets_of(const std::vector<SimLoop*>& loops);
};

class SimPackets final : public io::PacketNetwork {
 public:
  SimPackets(World& world, Loop& loop, std::shared_ptr<SocketFiles> files)
      : world_(world), loop_(loop), files_(std::move(files)) {}
  Task<Result<io::PacketSocketPtr>> connect(std::string path, StopToken stop) override;
  Result<io::PacketListenerPtr> listen(const std::string& path, unsigned mode) override;

 private:
  World& world_;
  Loop& loop_;
  std::shared_ptr<SocketFiles> files_;
};

}  // namespace weft::sim
