// Kernel TCP sockets as ConnectOptions and ListenOptions describe them, created inside one network namespace. Shared by the
// engines, which differ only in how they wait.
//
// Thread: any one at a time. setns() is per thread, so entering a namespace disturbs no other thread, and nothing suspends
// between entering and leaving.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "lib/base/random.h"
#include "lib/base/time_point.h"
#include "lib/io/network.h"
#include "lib/linux/socket_options.h"

namespace weft::io {

class KernelSockets {
 public:
  // The calling thread's own namespace.
  explicit KernelSockets(linux::Blocking blocking) : blocking_(blocking) {}
  // The namespace behind `netns`, which is duplicated. Errors: kLimit out of descriptors, kIo.
  static Result<KernelSockets> in_namespace(const Fd& netns, linux::Blocking blocking);

  // A socket ready for connect(2) to `address`. A source that cannot be spoofed is logged and left out.
  //
  // The port of a spoofed source is chosen here, each in its turn: of an explicit port the kernel takes a connection of the
  // same two ends that is in TIME_WAIT for over, as RFC 6191 allows. When it chooses itself it keeps out of their way for a
  // minute, so that some 470 connections a second from one client to one port use up all ports, and looking for one that is
  // left takes milliseconds. The first choice are ports that a client hardly uses itself, since istio-cni's packet rules
  // take a connection of its own from the same port for the same one and both are cut (Weft's tell them apart). A port that
  // is taken all the same makes connect(2) fail with EADDRNOTAVAIL: `taken` is how often that happened to this connection.
  Result<Fd> connecting(const SocketAddress& address, const ConnectOptions& options, int taken = 0);
  // Whether connect(2) is to be tried again, with the next port.
  static bool try_next_port(int os_error, const ConnectOptions& options, int taken);
  // A socket that is bound and listens.
  Result<Fd> listening(const SocketAddress& address, const ListenOptions& options) const;

 private:
  Result<Fd> make_socket(bool ipv6) const;
  Result<void> bind_source(int fd, const IpAddress& source, int taken);

  linux::Blocking blocking_;
  std::uint64_t turn_ = random_seed();  // so that whoever comes after us does not begin with the same ports
  Fd netns_;                            // none: the own namespace
};

// Connections that one turn of a loop takes from a port; the rest wait in the kernel's backlog. A port with many of them
// then keeps no timer or connection of others waiting, while four a turn are still more than a worker can do handshakes for.
inline constexpr std::size_t kAcceptedPerTurn = 4;

// How long accepting pauses when the process is out of descriptors or memory.
inline constexpr Duration kAcceptPause = std::chrono::milliseconds(100);

// One listener's line about such a pause: a process that stays out of descriptors pauses again and again.
class PauseNotice {
 public:
  static constexpr Duration kEvery = std::chrono::seconds(10);
  void write(int os_error, MonotonicTime now);

 private:
  std::optional<MonotonicTime> last_;
};

// Listener::yield_port() of a listening socket. A kernel that cannot is no worse than before; it is logged.
void yield_port(int fd);
// Listener::finish() of a listening socket: every connection that waits in its queue, then it listens no more. Those for
// which there is no descriptor are lost. What yield_port() asked for ends as well: the next one to join the newer socket's
// port would get everything, although that one goes on.
std::vector<Fd> leave_port(int fd, linux::Blocking accepted);

// Options of a socket that accept(2) returned, and the addresses it stands for (`stream` is left empty). An error means that
// the peer is gone already.
Result<Accepted> describe_accepted(int fd, const ListenOptions& options);

}  // namespace weft::io
