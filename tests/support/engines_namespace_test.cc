// Sockets inside another network namespace, as a pod has one; run by engines_test on every real engine.
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <thread>

#include "tests/support/traffic.h"

using namespace weft;
using namespace weft::io;
using namespace weft::testing;

namespace {

// A network namespace with its loopback up, and these ports for the kernel to choose from; none without the right to make
// one.
Fd make_network_namespace(const std::string& ports = "32768 60999") {
  Fd netns;
  std::thread maker([&netns, &ports] {
    if (::unshare(CLONE_NEWNET) != 0) return;
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    request.ifr_name[0] = 'l';
    request.ifr_name[1] = 'o';
    request.ifr_flags = IFF_UP;
    if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return;
    const Fd range(::open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY | O_CLOEXEC));
    if (::write(range.get(), ports.data(), ports.size()) != static_cast<ssize_t>(ports.size())) return;
    netns = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  });
  maker.join();
  return netns;
}

Task<void> other_namespace(Engine& engine) {
  const Fd netns = make_network_namespace();
  if (!netns) {
    WARN("skipped: no right to make a network namespace");
    co_return;
  }
  auto inside = engine.networks().in_namespace(netns);
  REQUIRE(inside);
  auto listener = (*inside)->listen(kLoopback, {});
  REQUIRE(listener);
  auto outside = engine.networks().own();
  auto refused_outside = co_await outside->connect((*listener)->address(), {}, {});
  CHECK(!refused_outside);
  auto connected = co_await (*inside)->connect((*listener)->address(), {}, {});
  CHECK(connected);
  auto accepted = co_await (*listener)->accept({});
  CHECK(accepted);
  // On behalf of another address.
  ConnectOptions spoofed;
  spoofed.mark = 1337;
  spoofed.spoofed_source = IpAddress::parse("127.0.0.9").value();
  auto foreign = co_await (*inside)->connect((*listener)->address(), spoofed, {});
  REQUIRE(foreign);
  auto seen = co_await (*listener)->accept({});
  REQUIRE(seen);
  CHECK(seen->peer.ip() == *spoofed.spoofed_source);
  CHECK(seen->peer.port() >= 61000);  // none that Linux gives to a client's own connections by default
}

// How many of `wanted` short connections in a row come about. The caller ends each first, so that its port is in TIME_WAIT.
Task<int> short_connections(Network& network, Listener& listener, ConnectOptions options, int wanted) {
  for (int i = 0; i < wanted; ++i) {
    auto near = co_await network.connect(listener.address(), options, {});
    if (!near) co_return i;
    auto far = co_await listener.accept({});
    if (!far) co_return i;
    auto ended = co_await (*near)->shutdown_write();
    auto heard = co_await far->stream->read(1);
    auto closed = co_await far->stream->shutdown_write();
    auto last = co_await (*near)->read(1);
    if (!ended || !heard || !closed || !last) co_return i;
  }
  co_return wanted;
}

Task<void> ports_are_used_again(Engine& engine) {
  constexpr int kMany = 40;
  const Fd netns = make_network_namespace("40000 40007");
  if (!netns) {
    WARN("skipped: no right to make a network namespace");
    co_return;
  }
  auto inside = engine.networks().in_namespace(netns);
  REQUIRE(inside);
  auto listener = (*inside)->listen(kLoopback, {});
  REQUIRE(listener);
  auto by_kernel = co_await short_connections(**inside, **listener, {}, kMany);
  CHECK(by_kernel < kMany);
  ConnectOptions spoofed;
  spoofed.spoofed_source = IpAddress::parse("127.0.0.9").value();
  auto by_turn = co_await short_connections(**inside, **listener, spoofed, kMany);
  CHECK(by_turn == kMany);
}

}  // namespace

TEST_CASE(
    "on behalf of one address any number of short connections can be made, although each leaves its port in TIME_WAIT") {
  on_every_engine(ports_are_used_again, true);
}
TEST_CASE("sockets live in the namespace they were made in") { on_every_engine(other_namespace, true); }
