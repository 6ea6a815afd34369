// Real packet rules in real network namespaces: what the tests of this folder have in common.
#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "cni-plugin/redirect/backend.h"
#include "lib/base/fd.h"
#include "lib/base/ip.h"
#include "lib/base/log.h"
#include "lib/linux/socket_options.h"
#include "tests/support/sockets.h"

namespace weft::cni::testing {

[[maybe_unused]] inline const bool kIsRoot = [] {
  if (::geteuid() == 0) return true;
  std::fputs("skipped: makes network namespaces, which needs root\n", stderr);
  std::_Exit(77);  // what Meson calls skipped
}();

template <typename Work>
auto inside(const Fd& netns, Work work) {
  decltype(work()) result{};
  std::thread([&] {
    if (::setns(netns.get(), CLONE_NEWNET) != 0) std::abort();
    result = work();
  }).join();
  return result;
}

class Namespace {
 public:
  Namespace() {
    std::thread([this] {
      if (::unshare(CLONE_NEWNET) == 0) fd = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    }).join();
    REQUIRE(fd);
  }
  std::string path() const { return fmt::format("/proc/{}/fd/{}", ::getpid(), fd.get()); }
  int run(const std::string& command) const {
    return std::system(fmt::format("nsenter --net={} -- {}", path(), command).c_str());
  }
  std::string output(const std::string& command) const {
    std::string text;
    auto* pipe = ::popen(fmt::format("nsenter --net={} -- {}", path(), command).c_str(), "r");
    char part[4096];
    for (std::size_t got; (got = std::fread(part, 1, sizeof part, pipe)) > 0;) text.append(part, got);
    ::pclose(pipe);
    return text;
  }
  Fd fd;
};

struct Pair {
  Pair() {
    REQUIRE(pod.run("ip link add e0 type veth peer name e1 netns " + peer.path()) == 0);
    for (const auto& [space, link, host] : {std::tuple{&pod, "e0", 1}, std::tuple{&peer, "e1", 2}}) {
      REQUIRE(space->run(fmt::format("sh -c 'ip link set lo up; ip link set {0} up; ip addr add 10.77.0.{1}/24 dev {0}; "
                                     "ip addr add fd77::{1}/64 dev {0} nodad'",
                                     link, host)) == 0);
    }
  }
  Namespace pod, peer;
};

inline constexpr int kLimitMs = 5000;

inline Fd listen_on(const Namespace& space, const std::string& address) {
  const auto at = *SocketAddress::parse(address);
  auto fd = inside(space.fd, [&] {
    auto socket = linux::make_tcp_socket(at.ip().is_v6(), linux::Blocking::kYes);
    (void)linux::set_reuse_address(socket->get());
    return std::move(*socket);
  });
  (void)linux::set_transparent(fd.get());
  REQUIRE(weft::testing::bind_at(fd, at));
  REQUIRE(::listen(fd.get(), 16) == 0);
  return fd;
}

// A connection, unless it is refused or not established in time.
struct Dial {
  std::uint32_t mark = 0;
  std::string from{};  // an address
  std::uint16_t port = 0;
};
inline Fd connect_to(const Namespace& space, const std::string& address, const Dial& dial = {}) {
  const auto to = *SocketAddress::parse(address);
  auto fd = inside(space.fd, [&] { return std::move(*linux::make_tcp_socket(to.ip().is_v6(), linux::Blocking::kNo)); });
  REQUIRE(linux::set_mark(fd.get(), dial.mark));
  if (!dial.from.empty()) REQUIRE(linux::bind_spoofed(fd.get(), {*IpAddress::parse(dial.from), dial.port}));
  (void)weft::testing::dial(fd, to);
  pollfd poll{fd.get(), POLLOUT, 0};
  int error = 0;
  socklen_t length = sizeof error;
  if (::poll(&poll, 1, kLimitMs) != 1 || ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0) {
    return Fd();
  }
  return fd;
}

inline Fd accept_from(const Fd& listener) {
  pollfd poll{listener.get(), POLLIN, 0};
  if (::poll(&poll, 1, kLimitMs) != 1) return Fd();
  return Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

// Sends a token one way and back.
inline bool passes(const Fd& a, const Fd& b) {
  for (const auto& [from, to] : {std::pair{&a, &b}, std::pair{&b, &a}}) {
    if (::send(from->get(), "ping", 4, MSG_NOSIGNAL) != 4) return false;
    pollfd poll{to->get(), POLLIN, 0};
    char got[8];
    if (::poll(&poll, 1, kLimitMs) != 1 || ::recv(to->get(), got, sizeof got, 0) != 4) return false;
  }
  return true;
}

inline std::string original(const Fd& fd) {
  auto address = linux::original_destination(fd.get());
  return address ? address->to_string() : address.error().message();
}

// nftables and both variants of iptables, as far as this machine has them; what it lacks is said once.
inline const std::vector<redirect::Backend>& backends() {
  static const auto found = [] {
    std::vector<redirect::Backend> out;
    const Fd node(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    for (const redirect::BackendWish& wish : {redirect::BackendWish{.nftables = true},
                                              {.variant = redirect::IptablesVariant::kNft},
                                              {.variant = redirect::IptablesVariant::kLegacy}}) {
      auto choice = redirect::choose_backend(node, wish);
      if (choice && choice->remark.empty()) {
        out.push_back(choice->backend);
      } else {
        const auto why = choice ? choice->remark : choice.error().message();
        std::fprintf(stderr, "skipped: a back end that this machine cannot have: %s\n", why.c_str());
      }
    }
    return out;
  }();
  return found;
}

inline bool is_nft(const redirect::Backend& backend) { return backend.kind == redirect::Backend::Kind::kNftables; }

// What concerns the mesh in the rules of a namespace, whoever keeps them; without counters.
inline std::string rules_in(const Namespace& space) {
  return space.output(
      "sh -c '{ nft -s list ruleset; nft list sets; [ -z \"$(cat /proc/self/net/ip_tables_names)\" ] || "
      "iptables-legacy-save; "
      "[ -z \"$(cat /proc/self/net/ip6_tables_names)\" ] || ip6tables-legacy-save; } 2>/dev/null | grep -iE "
      "\"istio|0x1000|:?150|zone\" "
      "| grep -v \"^# \" | sed \"s/\\[[0-9]*:[0-9]*\\]//\"'");
}

inline bool verified(const Namespace& space, const redirect::Options& options) {
  auto result = redirect::verify(space.fd, options);
  INFO((result ? std::string() : result.error().message()));
  REQUIRE(result);
  return *result;
}

inline void apply(const Namespace& space, const redirect::Options& options) {
  auto result = redirect::apply(space.fd, options);
  INFO((result ? std::string() : result.error().message()));
  REQUIRE(result);
}

inline void remove(const Namespace& space, const redirect::Backend& backend = {}) {
  auto result = redirect::remove(space.fd, backend);
  INFO((result ? std::string() : result.error().message()));
  REQUIRE(result);
}

}  // namespace weft::cni::testing
