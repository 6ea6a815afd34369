// Kernel TCP sockets as ConnectOptions and ListenOptions describe them, created inside one network namespace. Shared by the
// engines, which differ only in how they wait.
//
// Thread: any one at a time. setns() is per thread, so entering a namespace disturbs no other thread, and nothing suspends
// between entering and leaving.
#pragma once

#include <functional>
#include <vector>

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
  Result<Fd> connecting(const SocketAddress& address, const ConnectOptions& options) const;
  // A socket that is bound and listens.
  Result<Fd> listening(const SocketAddress& address, const ListenOptions& options) const;

 private:
  Result<Fd> make_socket(bool ipv6) const;

  linux::Blocking blocking_;
  Fd netns_;  // none: the own namespace
};

// Listener::yield_port() of a listening socket. A kernel that cannot is no worse than before; it is logged.
void yield_port(int fd);
// Every connection that waits in the queue of a listening socket, which is non-blocking from then on. Those for which there
// is no descriptor stay.
std::vector<Fd> take_queued(int fd, linux::Blocking accepted);

// Options of a socket that accept(2) returned, and the addresses it stands for (`stream` is left empty). An error means that
// the peer is gone already.
Result<Accepted> describe_accepted(int fd, const ListenOptions& options);

}  // namespace weft::io
