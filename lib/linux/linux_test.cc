#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <catch2/catch_test_macros.hpp>

#include "lib/linux/features.h"
#include "lib/linux/limits.h"
#include "lib/linux/socket_options.h"

using namespace weft;
using namespace weft::linux;
using namespace std::chrono_literals;

namespace {

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  REQUIRE(::getsockopt(fd, level, name, &value, &size) == 0);
  return value;
}

}  // namespace

TEST_CASE("a TCP socket has no delay, and keepalive is rounded up to seconds") {
  auto fd = make_tcp_socket(false, Blocking::kNo);
  REQUIRE(fd);
  CHECK(option(fd->get(), IPPROTO_TCP, TCP_NODELAY) == 1);
  REQUIRE(set_keepalive(fd->get(), 1500ms, 3s, 4));
  CHECK(option(fd->get(), SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option(fd->get(), IPPROTO_TCP, TCP_KEEPIDLE) == 2);
  CHECK(option(fd->get(), IPPROTO_TCP, TCP_KEEPINTVL) == 3);
  CHECK(option(fd->get(), IPPROTO_TCP, TCP_KEEPCNT) == 4);
  REQUIRE(set_user_timeout(fd->get(), 14s));
  CHECK(option(fd->get(), IPPROTO_TCP, TCP_USER_TIMEOUT) == 14000);
}

TEST_CASE("an unknown congestion control is an error that names it") {
  auto fd = make_tcp_socket(false, Blocking::kNo);
  REQUIRE(fd);
  CHECK(set_congestion_control(fd->get(), "reno"));
  auto unknown = set_congestion_control(fd->get(), "nosuch");
  REQUIRE(!unknown);
  CHECK(unknown.error().message().find("nosuch") != std::string::npos);
}

TEST_CASE("the original destination of a connection that was not redirected is its local address") {
  auto listener = make_tcp_socket(false, Blocking::kYes);
  REQUIRE(listener);
  sockaddr_storage storage;
  auto size = SocketAddress(IpAddress::loopback(false), 0).to_sockaddr(storage);
  REQUIRE(::bind(listener->get(), reinterpret_cast<sockaddr*>(&storage), size) == 0);
  REQUIRE(::listen(listener->get(), 1) == 0);
  auto address = local_address(listener->get());
  REQUIRE(address);
  auto client = make_tcp_socket(false, Blocking::kYes);
  REQUIRE(client);
  size = address->to_sockaddr(storage);
  REQUIRE(::connect(client->get(), reinterpret_cast<sockaddr*>(&storage), size) == 0);
  const Fd accepted(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
  REQUIRE(accepted);
  CHECK(original_destination(accepted.get()).value() == *address);
  CHECK(peer_address(accepted.get()).value() == local_address(client->get()).value());

  reset_connection(client->get());
  char byte;
  CHECK(::recv(accepted.get(), &byte, 1, 0) == -1);
  CHECK(errno == ECONNRESET);
}

TEST_CASE("a processor quota is read from the kernel's text") {
  CHECK(parse_cpu_max("150000 100000\n") == 1.5);
  CHECK(parse_cpu_max("max 100000\n") == 0);
  CHECK(parse_cpu_max("-1\n 100000\n") == 0);
  CHECK(parse_cpu_max("") == 0);
  CHECK(usable_cpus() >= 1);
  CHECK(raise_open_files_limit());
}
