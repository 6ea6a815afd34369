// Marked sockets as the kernel tells of them. Two namespaces joined by a veth pair.
#include <sys/stat.h>

#include <algorithm>

#include "cni-plugin/redirect/marked_sockets.h"
#include "cni-plugin/redirect/redirect_test_support.h"

using namespace weft;
using namespace weft::cni;
using namespace weft::cni::testing;

namespace {

std::string told(const Namespace& space) {
  const auto sockets = redirect::marked_sockets(space.fd);
  REQUIRE(sockets);
  std::vector<std::string> remotes;
  for (const auto& socket : *sockets) remotes.push_back(socket.remote.to_string());
  std::sort(remotes.begin(), remotes.end());
  std::string text;
  for (const auto& remote : remotes) text += remote + " ";
  return text;
}

std::uint32_t inode_of(const Fd& fd) {
  struct stat info{};
  REQUIRE(::fstat(fd.get(), &info) == 0);
  return static_cast<std::uint32_t>(info.st_ino);
}

}  // namespace

TEST_CASE("of many sockets in two namespaces those with the mark are told, while they are open and connected") {
  Pair pair;
  const auto v4 = listen_on(pair.peer, "10.77.0.2:80"), v6 = listen_on(pair.peer, "[fd77::2]:80"),
             inner = listen_on(pair.pod, "10.77.0.1:80");
  const auto plain = connect_to(pair.pod, "10.77.0.2:80"), other = connect_to(pair.pod, "10.77.0.2:80", {.mark = 0x53a}),
             outside = connect_to(pair.peer, "10.77.0.1:80", {.mark = 0x539});
  REQUIRE((plain && other && outside));
  CHECK(told(pair.pod).empty());
  CHECK(told(pair.peer) == "10.77.0.1:80 ");

  auto first = connect_to(pair.pod, "10.77.0.2:80", {.mark = 0x539});
  const auto second = connect_to(pair.pod, "[fd77::2]:80", {.mark = 0x70000539});
  REQUIRE((first && second));
  CHECK(told(pair.pod) == "10.77.0.2:80 [fd77::2]:80 ");
  const auto sockets = redirect::marked_sockets(pair.pod.fd).value();
  CHECK(sockets == std::vector<redirect::MarkedSocket>{{inode_of(first), *SocketAddress::parse("10.77.0.2:80")},
                                                       {inode_of(second), *SocketAddress::parse("[fd77::2]:80")}});
  // The other end stays, so that ours is in FIN_WAIT2 without an owner.
  const auto far = accept_from(v4);
  first = Fd();
  CHECK(told(pair.pod) == "[fd77::2]:80 ");
}

TEST_CASE("a marked socket that listens, one that is closed and one to loopback are not told of") {
  Pair pair;
  const auto listener = listen_on(pair.pod, "127.0.0.1:80"), far = listen_on(pair.peer, "10.77.0.2:80");
  REQUIRE(linux::set_mark(listener.get(), 0x539));
  const auto looped = connect_to(pair.pod, "127.0.0.1:80", {.mark = 0x539});
  REQUIRE(looped);
  auto reset = connect_to(pair.pod, "10.77.0.2:80", {.mark = 0x539});
  REQUIRE(reset);
  CHECK(told(pair.pod) == "10.77.0.2:80 ");  // the control
  linux::reset_connection(reset.get());
  CHECK(told(pair.pod).empty());
}

TEST_CASE("where accepted sockets take over marks, a mark tells nothing and nothing is told") {
  Pair pair;
  const auto far = listen_on(pair.peer, "10.77.0.2:80");
  const auto dialled = connect_to(pair.pod, "10.77.0.2:80", {.mark = 0x539});
  REQUIRE(dialled);
  CHECK(told(pair.pod) == "10.77.0.2:80 ");
  REQUIRE(pair.pod.run("sh -c 'echo 1 > /proc/sys/net/ipv4/tcp_fwmark_accept'") == 0);
  CHECK(told(pair.pod).empty());
  REQUIRE(pair.pod.run("sh -c 'echo 0 > /proc/sys/net/ipv4/tcp_fwmark_accept'") == 0);
  CHECK(told(pair.pod) == "10.77.0.2:80 ");
}
