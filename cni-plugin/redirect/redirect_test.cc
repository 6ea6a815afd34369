// Real packet rules in real network namespaces. Two namespaces joined by a veth pair: `pod` is redirected, `peer` is
// not.
#include "cni-plugin/redirect/redirect.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cni-plugin/redirect/probes.h"
#include "lib/base/ip.h"
#include "lib/base/log.h"
#include "lib/base/scope_exit.h"
#include "lib/linux/socket_options.h"

using namespace weft;
using namespace weft::cni;

namespace {

[[maybe_unused]] const bool kIsRoot = [] {
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

constexpr int kLimitMs = 5000;

Fd listen_on(const Namespace& space, const std::string& address) {
  const auto at = *SocketAddress::parse(address);
  auto fd = inside(space.fd, [&] {
    auto socket = linux::make_tcp_socket(at.ip().is_v6(), linux::Blocking::kYes);
    (void)linux::set_reuse_address(socket->get());
    return std::move(*socket);
  });
  (void)linux::set_transparent(fd.get());
  sockaddr_storage storage;
  const auto size = at.to_sockaddr(storage);
  REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0);
  REQUIRE(::listen(fd.get(), 16) == 0);
  return fd;
}

// Whether a connection is established within a second.
struct Dial {
  std::uint32_t mark = 0;
  std::string from;
};
Fd connect_to(const Namespace& space, const std::string& address, const Dial& dial = {}) {
  const auto to = *SocketAddress::parse(address);
  auto fd = inside(space.fd, [&] { return std::move(*linux::make_tcp_socket(to.ip().is_v6(), linux::Blocking::kNo)); });
  REQUIRE(linux::set_mark(fd.get(), dial.mark));
  if (!dial.from.empty()) REQUIRE(linux::bind_spoofed(fd.get(), *IpAddress::parse(dial.from)));
  sockaddr_storage storage;
  const auto size = to.to_sockaddr(storage);
  (void)::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), size);
  pollfd poll{fd.get(), POLLOUT, 0};
  int error = 0;
  socklen_t length = sizeof error;
  if (::poll(&poll, 1, 1000) != 1 || ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0) {
    return Fd();
  }
  return fd;
}

Fd accept_from(const Fd& listener) {
  pollfd poll{listener.get(), POLLIN, 0};
  if (::poll(&poll, 1, 1000) != 1) return Fd();
  return Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

// Sends a token one way and back.
bool passes(const Fd& a, const Fd& b) {
  for (const auto& [from, to] : {std::pair{&a, &b}, std::pair{&b, &a}}) {
    if (::send(from->get(), "ping", 4, MSG_NOSIGNAL) != 4) return false;
    pollfd poll{to->get(), POLLIN, 0};
    char got[8];
    if (::poll(&poll, 1, kLimitMs) != 1 || ::recv(to->get(), got, sizeof got, 0) != 4) return false;
  }
  return true;
}

std::string original(const Fd& fd) {
  auto address = linux::original_destination(fd.get());
  return address ? address->to_string() : address.error().message();
}

bool verified(const Namespace& space, const redirect::Options& options = {}) {
  auto result = redirect::verify(space.fd, options);
  INFO((result ? std::string() : result.error().message()));
  REQUIRE(result);
  return *result;
}

void apply(const Namespace& space, const redirect::Options& options = {}) {
  auto result = redirect::apply(space.fd, options);
  INFO((result ? std::string() : result.error().message()));
  REQUIRE(result);
}

std::string state_of(const Namespace& space) {
  return space.output("nft list ruleset") + space.output("ip rule") + space.output("ip -6 rule") +
         space.output("ip route show table all") + space.output("ip -6 route show table all");
}

}  // namespace

TEST_CASE("apply, verify, remove: nothing stays behind, and twice is the same as once") {
  Namespace pod;
  pod.run("ip link set lo up");
  const auto before = state_of(pod);
  CHECK_FALSE(verified(pod));
  apply(pod);
  CHECK(verified(pod));
  const auto once = state_of(pod);
  CHECK(once.find("32764:\tfrom all fwmark 0x111/0xfff lookup 100") != std::string::npos);
  apply(pod);
  CHECK(verified(pod));
  CHECK(state_of(pod) == once);
  CHECK(pod.output("cat /proc/sys/net/ipv4/tcp_migrate_req") == "1\n");
  REQUIRE(redirect::remove(pod.fd));
  CHECK(state_of(pod) == before);
  CHECK_FALSE(verified(pod));
  REQUIRE(redirect::remove(pod.fd));
}

TEST_CASE("apply brings up lo, since routes over it need that") {
  Namespace pod;
  apply(pod);
  CHECK(verified(pod));
}

TEST_CASE("whatever is missing, altered or added is noticed and repaired") {
  Namespace pod;
  apply(pod);
  for (const char* change :
       {"nft flush ruleset", "nft delete table inet istio-ambient-mangle",
        "nft flush chain inet istio-ambient-nat istio-output", "nft insert rule inet istio-ambient-nat output accept",
        "nft add rule inet istio-ambient-nat istio-prerouting tcp dport 1 accept",
        "nft add chain inet istio-ambient-nat another", "nft add table inet istio-ambient-raw", "ip rule del pref 32764",
        "ip -6 rule del pref 32764", "ip route flush table 100", "ip -6 route flush table 100"}) {
    INFO(change);
    REQUIRE(pod.run(change) == 0);
    CHECK_FALSE(verified(pod));
    apply(pod);
    CHECK(verified(pod));
  }
}

TEST_CASE("tables of others, even with many rules, neither disturb nor are disturbed") {
  Namespace pod;
  REQUIRE(pod.run("nft 'table inet filter { chain c { tcp dport 1 accept; }; }'") == 0);
  apply(pod);
  CHECK(verified(pod));
  REQUIRE(redirect::remove(pod.fd));
  CHECK(pod.output("nft list ruleset").find("table inet filter") != std::string::npos);
}

TEST_CASE("changed options change the rules, and DNS tables go when they are no longer wanted") {
  Namespace pod;
  apply(pod, {.dns_capture = true});
  CHECK(verified(pod, {.dns_capture = true}));
  CHECK_FALSE(verified(pod, {}));
  apply(pod, {.ipv6 = false});
  CHECK(verified(pod, {.ipv6 = false}));
  CHECK(pod.output("nft list ruleset").find("istio-ambient-raw") == std::string::npos);
}

TEST_CASE("rules that istio-cni left are replaced") {
  Namespace pod;
  REQUIRE(pod.run("nft 'add table inet istio-ambient-nat; add chain inet istio-ambient-nat output { type nat hook output "
                  "priority -100 ; }; add chain inet istio-ambient-nat istio-output; add rule inet istio-ambient-nat output "
                  "jump istio-output; add rule inet istio-ambient-nat istio-output meta l4proto tcp redirect to :15001'") ==
          0);
  REQUIRE(pod.run("ip rule add fwmark 0x111/0xfff lookup 100 pref 32764") == 0);
  CHECK_FALSE(verified(pod));
  apply(pod);
  CHECK(verified(pod));
  CHECK(pod.output("ip rule").find("32764", pod.output("ip rule").find("32764") + 1) == std::string::npos);
}

TEST_CASE("a namespace with IPv6 switched off is redirected, and IPv6 rules are there should it come back") {
  Namespace pod;
  REQUIRE(pod.run("sh -c 'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > "
                  "/proc/sys/net/ipv6/conf/lo/disable_ipv6'") == 0);
  apply(pod);
  CHECK(verified(pod));
  CHECK(pod.output("nft list ruleset").find("ip6 daddr != ::1") != std::string::npos);
  REQUIRE(pod.run("sh -c 'echo 0 > /proc/sys/net/ipv6/conf/lo/disable_ipv6'") == 0);
  CHECK_FALSE(verified(pod));
  apply(pod);
  CHECK(verified(pod));
}

TEST_CASE("a descriptor that is no network namespace is an error") {
  const Fd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  CHECK_FALSE(redirect::apply(file, {}));
  CHECK_FALSE(redirect::verify(file, {}));
  CHECK_FALSE(redirect::remove(file));
  CHECK_FALSE(redirect::apply(Fd(), {}));
}

TEST_CASE("without nft a pod is refused and says why") {
  Namespace pod;
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("weft-nft-{}", ::getpid());
  std::filesystem::create_directory(folder);
  const std::string path = std::getenv("PATH");
  const ScopeExit restore([&] {
    ::setenv("PATH", path.c_str(), 1);
    std::filesystem::remove_all(folder);
  });
  {
    std::ofstream(folder / "nft") << "#!/bin/sh\necho 'Error: no room' >&2\nexit 1\n";
    std::filesystem::permissions(folder / "nft", std::filesystem::perms::owner_all);
  }
  ::setenv("PATH", folder.c_str(), 1);
  auto refused = redirect::apply(pod.fd, {.dns_capture = true});
  ::setenv("PATH", path.c_str(), 1);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message().find("no room") != std::string::npos);
  CHECK(pod.output("nft list ruleset").empty());
}

TEST_CASE("connections end where they should, over both families") {
  Pair pair;
  apply(pair.pod);
  for (const bool ipv6 : {false, true}) {
    const std::string pod = ipv6 ? "[fd77::1]" : "10.77.0.1", peer = ipv6 ? "[fd77::2]" : "10.77.0.2";
    const std::string any = ipv6 ? "[::]" : "0.0.0.0", loopback = ipv6 ? "[::1]" : "127.0.0.1";
    INFO(pod);
    const auto outbound = listen_on(pair.pod, any + ":15001"), inbound = listen_on(pair.pod, any + ":15006"),
               tunnel = listen_on(pair.pod, any + ":15008"), app = listen_on(pair.pod, any + ":8080"),
               far = listen_on(pair.peer, any + ":8080");

    // Out: to the proxy, whatever the port, even where nobody listens.
    for (const std::string port : {":8080", ":15008", ":9"}) {
      const auto dialled = connect_to(pair.pod, peer + port);
      REQUIRE(dialled);
      const auto caught = accept_from(outbound);
      REQUIRE(caught);
      CHECK(original(caught) == peer + port);
      CHECK(passes(dialled, caught));
    }
    // The proxy's own.
    const auto own = connect_to(pair.pod, peer + ":8080", {.mark = 0x539});
    REQUIRE(own);
    CHECK(passes(own, accept_from(far)));

    // In: to the proxy's plain port, except the tunnel port.
    for (const std::string port : {":8080", ":9"}) {
      const auto dialled = connect_to(pair.peer, pod + port);
      REQUIRE(dialled);
      const auto caught = accept_from(inbound);
      REQUIRE(caught);
      CHECK(original(caught) == pod + port);
      CHECK(passes(dialled, caught));
    }
    const auto tunnelled = connect_to(pair.peer, pod + ":15008");
    REQUIRE(tunnelled);
    CHECK(passes(tunnelled, accept_from(tunnel)));

    // The proxy delivers with the caller's address; the answer comes back to it and not out of the pod.
    const auto delivered = connect_to(pair.pod, pod + ":8080", {.mark = 0x539, .from = ipv6 ? "fd77::2" : "10.77.0.2"});
    REQUIRE(delivered);
    const auto served = accept_from(app);
    REQUIRE(served);
    CHECK(linux::peer_address(served.get())->ip().to_string() == (ipv6 ? "fd77::2" : "10.77.0.2"));
    CHECK(passes(delivered, served));

    // The pod's own loopback and its own address stay inside.
    for (const auto& address : {loopback, pod}) {
      const auto inner = connect_to(pair.pod, address + ":8080");
      REQUIRE(inner);
      CHECK(passes(inner, accept_from(app)));
    }
    // Health probes of the node reach the application.
    const std::string probe = ipv6 ? "fd16:9254:7127:1337:ffff:ffff:ffff:ffff" : "169.254.7.127";
    pair.peer.run(fmt::format("ip addr add {}/{} dev e1 {}", probe, ipv6 ? 128 : 32, ipv6 ? "nodad" : ""));
    pair.pod.run(fmt::format("ip route add {}/{} dev e0", probe, ipv6 ? 128 : 32));
    const auto probed = connect_to(pair.peer, pod + ":8080", {.from = probe});
    REQUIRE(probed);
    CHECK(passes(probed, accept_from(app)));
  }
}

TEST_CASE("connections that were open before go on, busy or idle, in and out; new ones are caught") {
  Pair pair;
  for (const bool ipv6 : {false, true}) {
    const std::string pod = ipv6 ? "[fd77::1]" : "10.77.0.1", peer = ipv6 ? "[fd77::2]" : "10.77.0.2";
    INFO(pod);
    const auto app = listen_on(pair.pod, pod + ":8080"), far = listen_on(pair.peer, peer + ":8080");
    const auto outbound = listen_on(pair.pod, ipv6 ? "[::]:15001" : "0.0.0.0:15001");
    const auto out = connect_to(pair.pod, peer + ":8080"), in = connect_to(pair.peer, pod + ":8080");
    const auto out_far = accept_from(far), in_app = accept_from(app);
    const auto idle = connect_to(pair.pod, peer + ":8080"), idle_far = accept_from(far);
    for (int round = 0; round < 3; ++round) {
      apply(pair.pod);
      CHECK(passes(out, out_far));
      CHECK(passes(in_app, in));
      const auto fresh = connect_to(pair.pod, peer + ":8080");
      REQUIRE(fresh);
      CHECK(accept_from(outbound));
      if (round < 2) REQUIRE(redirect::remove(pair.pod.fd));
      CHECK(passes(in, in_app));
    }
    CHECK(passes(idle_far, idle));
    // Also when our rules are replaced by themselves.
    REQUIRE(pair.pod.run("nft add chain inet istio-ambient-nat another") == 0);
    apply(pair.pod);
    CHECK(passes(out, out_far));
    REQUIRE(redirect::remove(pair.pod.fd));
  }
}

TEST_CASE("a pod that left and came back does not let a new connection pass as an old one") {
  Pair pair;
  const auto far = listen_on(pair.peer, "10.77.0.2:8080");
  const auto outbound = listen_on(pair.pod, "0.0.0.0:15001");
  auto old = connect_to(pair.pod, "10.77.0.2:8080"), old_far = accept_from(far);
  const auto ports = *linux::local_address(old.get());
  apply(pair.pod);
  CHECK(passes(old, old_far));  // conntrack knows it now, as one that passes
  REQUIRE(redirect::remove(pair.pod.fd));
  linux::set_reset_on_close(old.get());  // ends unseen
  old.reset();
  apply(pair.pod);
  auto fresh = inside(pair.pod.fd, [] { return std::move(*linux::make_tcp_socket(false, linux::Blocking::kYes)); });
  sockaddr_storage storage;
  auto size = ports.to_sockaddr(storage);
  REQUIRE(::bind(fresh.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0);
  size = SocketAddress::parse("10.77.0.2:8080")->to_sockaddr(storage);
  REQUIRE(::connect(fresh.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0);
  CHECK(accept_from(outbound));
}

TEST_CASE("the node's own connections to listed pods reach the application, and nobody else's do") {
  Pair pair;
  apply(pair.pod);
  const redirect::ProbeOptions root;
  redirect::ProbedPods pods;
  for (const char* address : {"10.77.0.1", "fd77::1"}) pods[*IpAddress::parse(address)] = "uid-1";
  // Replies go to the node by the default route, as in a pod.
  REQUIRE(pair.pod.run("sh -c 'ip route add default via 10.77.0.2; ip -6 route add default via fd77::2'") == 0);
  for (const bool ipv6 : {false, true}) {
    const std::string app_at = ipv6 ? "[fd77::1]:8080" : "10.77.0.1:8080", any = ipv6 ? "[::]" : "0.0.0.0";
    INFO(app_at);
    const auto app = listen_on(pair.pod, any + ":8080"), proxy = listen_on(pair.pod, any + ":15006");
    const auto ends_at = [&](const Fd& listener) {
      const auto dialled = connect_to(pair.peer, app_at), accepted = accept_from(listener);
      return dialled && accepted && passes(dialled, accepted) ? linux::peer_address(accepted.get())->ip().to_string()
                                                              : std::string("elsewhere");
    };
    const std::string node = ipv6 ? "fd77::2" : "10.77.0.2", other = ipv6 ? "fd77::9" : "10.77.0.9";
    CHECK(ends_at(proxy) == node);
    REQUIRE(redirect::exempt_probes(pair.peer.fd, root, pods));
    CHECK(ends_at(app) == (ipv6 ? root.source.v6 : root.source.v4).to_string());
    REQUIRE(redirect::exempt_probes(pair.peer.fd, {.kubelet = 12345}, pods));
    CHECK(ends_at(proxy) == node);
    REQUIRE(redirect::exempt_probes(pair.peer.fd, root, {{*IpAddress::parse(other), "uid-1"}}));
    CHECK(ends_at(proxy) == node);
    REQUIRE(redirect::exempt_probes(pair.peer.fd, root, pods));
    REQUIRE(redirect::remove_probes(pair.peer.fd));
    CHECK(ends_at(proxy) == node);
  }
}

TEST_CASE("the node's rules are replaced, verified and removed, whoever changed them") {
  Namespace node;
  redirect::ProbedPods pods;
  for (int i = 0; i < 300; ++i) {
    pods[*IpAddress::parse(fmt::format("10.0.{}.{}", i / 250, i % 250 + 1))] = fmt::format("uid-{}", i);
    pods[*IpAddress::parse(fmt::format("fd00::{:x}", i + 1))] = fmt::format("uid-{}", i);
  }
  const auto right = [&] {
    auto result = redirect::verify_probes(node.fd, {}, pods);
    return result && *result;
  };
  REQUIRE(redirect::remove_probes(node.fd));
  CHECK(node.output("nft list ruleset").empty());
  CHECK_FALSE(right());
  REQUIRE(node.run("nft 'table inet others { chain c { tcp dport 1 accept; }; }'") == 0);
  for (const char* change :
       {"true", "nft flush ruleset", "nft delete table inet istio-ambient-nat",
        "nft flush chain inet istio-ambient-nat postrouting", "nft flush set inet istio-ambient-nat istio-inpod-probes-v4",
        "nft 'delete element inet istio-ambient-nat istio-inpod-probes-v6 { fd00::7 }'",
        "nft 'add element inet istio-ambient-nat istio-inpod-probes-v4 { 10.9.9.9 }'",
        "nft insert rule inet istio-ambient-nat postrouting accept"}) {
    INFO(change);
    REQUIRE(node.run(change) == 0);
    if (std::string(change) != "true") CHECK_FALSE(right());
    REQUIRE(redirect::exempt_probes(node.fd, {}, pods));
    CHECK(right());
  }
  pods.erase(pods.begin());
  CHECK_FALSE(right());
  REQUIRE(redirect::exempt_probes(node.fd, {}, pods));
  CHECK(right());
  REQUIRE(node.run("nft 'table inet others { chain c { tcp dport 1 accept; }; }'") == 0);
  REQUIRE(redirect::remove_probes(node.fd));
  CHECK(node.output("nft list tables") == "table inet others\n");
}
