#include "lib/io/kernel_sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>

#include "lib/base/check.h"
#include "lib/base/log.h"

namespace weft::io {
namespace {

// Above those that Linux gives to a caller's own connections by default, and then those. Nothing well known is among them.
struct PortRange {
  std::uint64_t first, count;
};
constexpr PortRange kUnusualPorts{61000, 4536}, kUsualPorts{32768, 28232};
// So many in a row are taken only when most are. After both the kernel looks for one.
constexpr int kTriedOfRange = 4, kPortsTried = 2 * kTriedOfRange;

Result<void> apply_keepalive(int fd, const std::optional<Keepalive>& keepalive) {
  if (!keepalive) return {};
  WEFT_TRY_VOID(linux::set_keepalive(fd, keepalive->time, keepalive->interval, keepalive->retries));
  if (!keepalive->user_timeout) return {};
  return linux::set_user_timeout(fd, keepalive->time + keepalive->retries * keepalive->interval);
}

}  // namespace

Result<KernelSockets> KernelSockets::in_namespace(const Fd& netns, linux::Blocking blocking) {
  KernelSockets sockets(blocking);
  sockets.netns_ = netns.duplicate();
  if (!sockets.netns_) return fail_errno(errno, "duplicate a network namespace's descriptor");
  return sockets;
}

Result<Fd> KernelSockets::make_socket(bool ipv6) const {
  if (!netns_) return linux::make_tcp_socket(ipv6, blocking_);
  const Fd own(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!own) return fail_errno(errno, "open /proc/thread-self/ns/net");
  if (::setns(netns_.get(), CLONE_NEWNET) != 0) return fail_errno(errno, "setns into a pod's network namespace");
  auto fd = linux::make_tcp_socket(ipv6, blocking_);
  // A thread that stayed behind would make every later socket in the wrong pod.
  WEFT_CHECK(::setns(own.get(), CLONE_NEWNET) == 0);
  return fd;
}

Result<void> KernelSockets::bind_source(int fd, const IpAddress& source, int taken) {
  for (int tried = taken; tried < kPortsTried; ++tried) {
    const auto& range = tried < kTriedOfRange ? kUnusualPorts : kUsualPorts;
    const auto port = static_cast<std::uint16_t>(range.first + turn_++ % range.count);
    auto bound = linux::bind_spoofed(fd, {source, port});
    if (bound || bound.error().code() != ErrorCode::kAddressInUse) return bound;
  }
  return linux::bind_spoofed(fd, {source, 0});
}

bool KernelSockets::try_next_port(int os_error, const ConnectOptions& options, int taken) {
  return os_error == EADDRNOTAVAIL && options.spoofed_source && taken < kPortsTried;
}

Result<Fd> KernelSockets::connecting(const SocketAddress& address, const ConnectOptions& options, int taken) {
  const auto& source = options.spoofed_source;
  // The spoofed source decides the family, as upstream's does.
  WEFT_TRY(Fd fd, make_socket(source ? source->is_v6() : address.ip().is_v6()));
  WEFT_TRY_VOID(linux::set_mark(fd.get(), options.mark));
  WEFT_TRY_VOID(apply_keepalive(fd.get(), options.keepalive));
  // A pod that calls itself keeps its own address without help.
  if (source && *source != address.ip()) {
    if (auto bound = bind_source(fd.get(), *source, taken); !bound) {
      WEFT_LOG(kWarn, "socket", "source address not kept", {"source", source->to_string()},
               {"error", bound.error().message()});
    }
  }
  return fd;
}

Result<Fd> KernelSockets::listening(const SocketAddress& address, const ListenOptions& options) const {
  const bool ipv6 = address.ip().is_v6();
  WEFT_TRY(Fd fd, make_socket(ipv6));
  WEFT_TRY_VOID(linux::set_mark(fd.get(), options.mark));
  if (ipv6 && address.ip().is_unspecified()) WEFT_TRY_VOID(linux::set_dual_stack(fd.get()));
  const auto sharing = options.sharing;
  if (sharing != PortSharing::kShared) WEFT_TRY_VOID(linux::set_reuse_address(fd.get()));
  if (sharing == PortSharing::kShared || sharing == PortSharing::kJoin) WEFT_TRY_VOID(linux::set_reuse_port(fd.get()));
  sockaddr_storage storage;
  const socklen_t size = address.to_sockaddr(storage);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) != 0) {
    return fail_errno(errno, "bind " + address.to_string());
  }
  if (sharing == PortSharing::kFirst) WEFT_TRY_VOID(linux::set_reuse_port(fd.get()));
  if (::listen(fd.get(), options.backlog) != 0) return fail_errno(errno, "listen " + address.to_string());
  return fd;
}

void PauseNotice::write(int os_error, MonotonicTime now) {
  if (last_ && now - *last_ < kEvery) return;
  last_ = now;
  WEFT_LOG(kWarn, "socket", "accepting paused", {"error", Error::from_errno(os_error, "accept").message()});
}

void yield_port(int fd) {
  if (auto done = linux::prefer_newer_socket(fd); !done)
    WEFT_LOG(kDebug, "socket", "port not yielded to a newer listener", {"error", done.error().message()});
}

std::vector<Fd> leave_port(int fd, linux::Blocking accepted) {
  const int flags = SOCK_CLOEXEC | (accepted == linux::Blocking::kNo ? SOCK_NONBLOCK : 0);
  std::vector<Fd> queued;
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  for (;;) {
    Fd next(::accept4(fd, nullptr, nullptr, flags));
    if (next) {
      queued.push_back(std::move(next));
    } else if (errno != EINTR && errno != ECONNABORTED) {
      break;
    }
  }
  // In this order, one after the other: only a connection that begins between the two can be reset.
  linux::share_with_newer_socket(fd);
  ::shutdown(fd, SHUT_RDWR);
  return queued;
}

Result<Accepted> describe_accepted(int fd, const ListenOptions& options) {
  WEFT_TRY_VOID(linux::set_nodelay(fd));
  WEFT_TRY_VOID(apply_keepalive(fd, options.keepalive));
  Accepted accepted;
  WEFT_TRY(accepted.peer, linux::peer_address(fd));
  WEFT_TRY(accepted.local, linux::local_address(fd));
  accepted.original_destination = accepted.local;
  if (options.want_original_destination) {
    WEFT_TRY(accepted.original_destination, linux::original_destination(fd));
  }
  return accepted;
}

}  // namespace weft::io
