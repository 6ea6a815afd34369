// Unix sockets that keep packet boundaries and carry descriptors (SOCK_SEQPACKET): how the node agent hands pods over.
//
// Implemented by lib/asio and the simulation. Thread: the loop's. As for streams: close() and await the end of a call before
// destroying what it was made on.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/async/stop.h"
#include "lib/async/task.h"
#include "lib/base/fd.h"
#include "lib/base/result.h"

namespace weft::io {

struct Packet {
  std::string data;
  std::vector<Fd> descriptors;  // close-on-exec
};

// Descriptors that fit a packet; more is an error and all are closed.
inline constexpr std::size_t kPacketDescriptorsMax = 8;

class PacketSocket {
 public:
  virtual ~PacketSocket() = default;
  // The next packet. kClosed at the end, kReset when the peer vanished with packets unread, kProtocol for one that is longer
  // than `size_max` or carries too many descriptors (all of which are closed), kCancelled when stopped or closed. One call
  // at a time.
  virtual Task<Result<Packet>> receive(std::size_t size_max, StopToken stop) = 0;
  // Sends one packet, with a copy of `descriptor` when it is given (it must stay open until the call ends). kClosed when the
  // peer is gone. One call at a time.
  virtual Task<Result<void>> send(std::string data, std::optional<int> descriptor, StopToken stop) = 0;
  // Ends calls in flight with kCancelled. Idempotent.
  virtual void close() = 0;
};
using PacketSocketPtr = std::unique_ptr<PacketSocket>;

class PacketListener {
 public:
  // Stops listening; connections that were not handed out are closed.
  virtual ~PacketListener() = default;
  // kCancelled after close() or when stopped. One call at a time.
  virtual Task<Result<PacketSocketPtr>> accept(StopToken stop) = 0;
  virtual void close() = 0;
};
using PacketListenerPtr = std::unique_ptr<PacketListener>;

class PacketNetwork {
 public:
  virtual ~PacketNetwork() = default;
  // kNotFound without a socket file, kRefused when nobody listens, kUnavailable when its backlog is full.
  virtual Task<Result<PacketSocketPtr>> connect(std::string path, StopToken stop) = 0;
  // Replaces a socket file that was left behind; the file has permissions `mode` and goes with the listener, unless another
  // one replaced it.
  virtual Result<PacketListenerPtr> listen(const std::string& path, unsigned mode) = 0;
};

}  // namespace weft::io
