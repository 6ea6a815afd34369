// What the sockets of all engines are given when they are made and when they are accepted.
#include "lib/io/kernel_sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <catch2/catch_test_macros.hpp>

#include "tests/support/sockets.h"

using namespace weft;
using namespace weft::io;
using namespace std::chrono_literals;

namespace {

const SocketAddress kAnyPort(IpAddress::loopback(false), 0);
const Keepalive kShort{.time = 7s, .interval = 3s, .retries = 5, .user_timeout = true};

// A listener with these options, and a connection that it accepted.
struct Pair {
  explicit Pair(const ListenOptions& options) {
    listener = sockets.listening(kAnyPort, options).value();
    address = linux::local_address(listener.get()).value();
    client = sockets.connecting(address, {}).value();
    REQUIRE(testing::dial(client, address));
    server = testing::accept_from(listener);
    REQUIRE(server);
    accepted = describe_accepted(server.get(), options).value();
  }
  KernelSockets sockets{linux::Blocking::kYes};
  Fd listener, client, server;
  SocketAddress address;
  Accepted accepted;
};

void check_keepalive(const Fd& fd) {
  CHECK(testing::option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(testing::option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 7);
  CHECK(testing::option(fd, IPPROTO_TCP, TCP_KEEPINTVL) == 3);
  CHECK(testing::option(fd, IPPROTO_TCP, TCP_KEEPCNT) == 5);
  CHECK(testing::option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 22'000);
}

}  // namespace

TEST_CASE("an accepted socket has no delay, and the keepalive its listener was told") {
  Pair pair({.keepalive = kShort});
  CHECK(testing::option(pair.server, IPPROTO_TCP, TCP_NODELAY) == 1);
  check_keepalive(pair.server);
  CHECK(pair.accepted.local == pair.address);
  CHECK(pair.accepted.original_destination == pair.address);
  Pair plain({});
  CHECK(testing::option(plain.server, IPPROTO_TCP, TCP_NODELAY) == 1);
  CHECK(testing::option(plain.server, SOL_SOCKET, SO_KEEPALIVE) == 0);
  CHECK(testing::option(plain.server, IPPROTO_TCP, TCP_USER_TIMEOUT) == 0);
}

TEST_CASE("a dialling socket has no delay and keepalive; a user timeout only when it is asked for") {
  KernelSockets sockets(linux::Blocking::kYes);
  auto fd = sockets.connecting(kAnyPort, {.keepalive = kShort});
  REQUIRE(fd);
  CHECK(testing::option(*fd, IPPROTO_TCP, TCP_NODELAY) == 1);
  check_keepalive(*fd);
  auto without = kShort;
  without.user_timeout = false;
  fd = sockets.connecting(kAnyPort, {.keepalive = without});
  REQUIRE(fd);
  CHECK(testing::option(*fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(testing::option(*fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 0);
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
  CHECK(testing::option(*dialling, SOL_SOCKET, SO_MARK) == 1337);
  Pair pair({.mark = 1337});
  CHECK(testing::option(pair.listener, SOL_SOCKET, SO_MARK) == 1337);
  CHECK(testing::option(pair.server, SOL_SOCKET, SO_MARK) == 1337);
  auto unmarked = sockets.connecting(kAnyPort, {});
  REQUIRE(unmarked);
  CHECK(testing::option(*unmarked, SOL_SOCKET, SO_MARK) == 0);
}
