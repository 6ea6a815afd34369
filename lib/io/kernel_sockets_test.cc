// What the sockets of all engines are given when they are made and when they are accepted.
#include "lib/io/kernel_sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>

using namespace weft;
using namespace weft::io;
using namespace std::chrono_literals;

namespace {

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  REQUIRE(::getsockopt(fd, level, name, &value, &size) == 0);
  return value;
}

const SocketAddress kAnyPort(IpAddress::loopback(false), 0);
const Keepalive kShort{.time = 7s, .interval = 3s, .retries = 5, .user_timeout = true};

// A listener with these options, and a connection that it accepted.
struct Pair {
  explicit Pair(const ListenOptions& options) {
    listener = sockets.listening(kAnyPort, options).value();
    address = linux::local_address(listener.get()).value();
    client = sockets.connecting(address, {}).value();
    sockaddr_storage storage;
    const socklen_t size = address.to_sockaddr(storage);
    REQUIRE(::connect(client.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0);
    server = Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(server);
    accepted = describe_accepted(server.get(), options).value();
  }
  KernelSockets sockets{linux::Blocking::kYes};
  Fd listener, client, server;
  SocketAddress address;
  Accepted accepted;
};

void check_keepalive(int fd) {
  CHECK(option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 7);
  CHECK(option(fd, IPPROTO_TCP, TCP_KEEPINTVL) == 3);
  CHECK(option(fd, IPPROTO_TCP, TCP_KEEPCNT) == 5);
  CHECK(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 22'000);
}

}  // namespace

TEST_CASE("an accepted socket has no delay, and the keepalive its listener was told") {
  Pair pair({.keepalive = kShort});
  CHECK(option(pair.server.get(), IPPROTO_TCP, TCP_NODELAY) == 1);
  check_keepalive(pair.server.get());
  CHECK(pair.accepted.local == pair.address);
  CHECK(pair.accepted.original_destination == pair.address);
  Pair plain({});
  CHECK(option(plain.server.get(), IPPROTO_TCP, TCP_NODELAY) == 1);
  CHECK(option(plain.server.get(), SOL_SOCKET, SO_KEEPALIVE) == 0);
  CHECK(option(plain.server.get(), IPPROTO_TCP, TCP_USER_TIMEOUT) == 0);
}

TEST_CASE("a dialling socket has no delay and keepalive; a user timeout only when it is asked for") {
  KernelSockets sockets(linux::Blocking::kYes);
  auto fd = sockets.connecting(kAnyPort, {.keepalive = kShort});
  REQUIRE(fd);
  CHECK(option(fd->get(), IPPROTO_TCP, TCP_NODELAY) == 1);
  check_keepalive(fd->get());
  auto without = kShort;
  without.user_timeout = false;
  fd = sockets.connecting(kAnyPort, {.keepalive = without});
  REQUIRE(fd);
  CHECK(option(fd->get(), SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option(fd->get(), IPPROTO_TCP, TCP_USER_TIMEOUT) == 0);
}

TEST_CASE("listeners share a port only when both are told to reuse it") {
  KernelSockets sockets(linux::Blocking::kYes);
  auto first = sockets.listening(kAnyPort, {.sharing = PortSharing::kShared});
  REQUIRE(first);
  const auto address = linux::local_address(first->get()).value();
  CHECK(sockets.listening(address, {.sharing = PortSharing::kShared}));
  auto refused = sockets.listening(address, {.sharing = PortSharing::kAlone});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::kAddressInUse);
}

TEST_CASE("sockets that dial, listen and are accepted carry the mark, where marks may be set") {
  KernelSockets sockets(linux::Blocking::kYes);
  auto dialling = sockets.connecting(kAnyPort, {.mark = 1337});
  if (!dialling && dialling.error().code() == ErrorCode::kPermission) SKIP("marks need CAP_NET_ADMIN");
  REQUIRE(dialling);
  CHECK(option(dialling->get(), SOL_SOCKET, SO_MARK) == 1337);
  Pair pair({.mark = 1337});
  CHECK(option(pair.listener.get(), SOL_SOCKET, SO_MARK) == 1337);
  CHECK(option(pair.server.get(), SOL_SOCKET, SO_MARK) == 1337);
  auto unmarked = sockets.connecting(kAnyPort, {});
  REQUIRE(unmarked);
  CHECK(option(unmarked->get(), SOL_SOCKET, SO_MARK) == 0);
}
