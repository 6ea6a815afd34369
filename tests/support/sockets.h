// Plain sockets with our addresses, and what the kernel says of them.
#pragma once

#include <sys/socket.h>

#include <catch2/catch_test_macros.hpp>

#include "lib/base/fd.h"
#include "lib/base/ip.h"

namespace weft::testing {

inline bool bind_at(const Fd& fd, const SocketAddress& address) {
  sockaddr_storage storage;
  const auto size = address.to_sockaddr(storage);
  return ::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0;
}

// False with errno set, which is EINPROGRESS on a socket that does not block.
inline bool dial(const Fd& fd, const SocketAddress& address) {
  sockaddr_storage storage;
  const auto size = address.to_sockaddr(storage);
  return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0;
}

// Blocks until somebody dials.
inline Fd accept_from(const Fd& listener) { return Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)); }

// An option whose value is a number.
inline int option(const Fd& fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  REQUIRE(::getsockopt(fd.get(), level, name, &value, &size) == 0);
  return value;
}

}  // namespace weft::testing
