// Packet rules in real network namespaces: that they come, are looked after and go.
#include "cni-plugin/redirect/redirect.h"

#include <sys/file.h>

#include "cni-plugin/redirect/redirect_test_support.h"
#include "lib/base/scope_exit.h"
#include "tests/support/temporary_folder.h"

using namespace weft;
using namespace weft::cni;
using namespace weft::cni::testing;

namespace {

std::string state_of(const Namespace& space) {
  return rules_in(space) + space.output("ip rule") + space.output("ip -6 rule") + space.output("ip route show table all") +
         space.output("ip -6 route show table all");
}

// The zone of deliveries by the rules here; empty without one.
std::string zone_in(const Namespace& space) {
  const auto rules = rules_in(space) + space.output("sh -c 'iptables-nft-save -t raw 2>&1'");
  for (const std::string words : {"--zone-orig ", "original zone set "}) {
    if (const auto at = rules.find(words); at != std::string::npos) return rules.substr(at + words.size(), 1);
  }
  return "";
}

}  // namespace

TEST_CASE("apply, verify, remove: nothing stays behind, and twice is the same as once") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Namespace pod;
    const redirect::Options options{.backend = backend};
    pod.run("ip link set lo up");
    const auto before = state_of(pod);
    CHECK_FALSE(verified(pod, options));
    apply(pod, options);
    CHECK(verified(pod, options));
    const auto once = state_of(pod);
    CHECK(once.find("32764:\tfrom all fwmark 0x111/0xfff lookup 100") != std::string::npos);
    apply(pod, options);
    CHECK(verified(pod, options));
    CHECK(state_of(pod) == once);
    CHECK(pod.output("cat /proc/sys/net/ipv4/tcp_migrate_req") == "1\n");
    remove(pod, backend);
    CHECK(state_of(pod) == before);
    CHECK_FALSE(verified(pod, options));
    remove(pod, backend);
  }
}

TEST_CASE("a pod that is only prepared redirects nothing, before and after it was redirected, and leaves nothing behind") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Namespace pod;
    const redirect::Options options{.backend = backend};
    pod.run("ip link set lo up");
    const auto before = state_of(pod);
    auto prepared = options;
    prepared.redirecting = false;
    for (int round = 0; round < 2; ++round) {
      apply(pod, prepared);
      CHECK(verified(pod, prepared));
      CHECK_FALSE(verified(pod, options));
      CHECK(state_of(pod).find("15001") == std::string::npos);
      CHECK(state_of(pod).find("15006") == std::string::npos);
      apply(pod, options);
      CHECK(verified(pod, options));
      CHECK_FALSE(verified(pod, prepared));
    }
    apply(pod, prepared);
    remove(pod, backend);
    CHECK(state_of(pod) == before);
  }
}

TEST_CASE("rules of the mesh are found in whatever form they are kept, whole or not") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Namespace pod;
    const auto found = [&](const redirect::Backend& asked) { return *redirect::present(pod.fd, asked); };
    CHECK_FALSE(found(backend));
    pod.run("nft add table inet somebody-elses");
    CHECK_FALSE(found(backend));
    apply(pod, {.backend = backend, .redirecting = false});
    CHECK(found(backend));
    apply(pod, {.backend = backend});
    for (const auto& asked : backends()) CHECK(found(asked));
    remove(pod, backend);
    CHECK_FALSE(found(backend));
  }
}

TEST_CASE("apply brings up lo, since routes over it need that") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Namespace pod;
    apply(pod, {.backend = backend});
    CHECK(verified(pod, {.backend = backend}));
  }
}

TEST_CASE("whatever is missing, altered or added is noticed and repaired") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Namespace pod;
    const redirect::Options options{.backend = backend};
    apply(pod, options);
    std::vector<std::string> changes{
        "nft flush ruleset",
        "nft delete table inet istio-ambient-mangle",
        "nft flush chain inet istio-ambient-nat istio-output",
        "nft insert rule inet istio-ambient-nat output accept",
        "nft add rule inet istio-ambient-nat istio-prerouting tcp dport 1 accept",
        "nft add chain inet istio-ambient-nat another",
        "nft add chain inet istio-ambient-raw another",
        "nft insert rule inet istio-ambient-raw output notrack",
    };
    if (!is_nft(backend)) {
      changes.clear();
      for (const auto& tool : {backend.v4.name, backend.v6.name}) {
        for (const char* change :
             {"-t nat -F", "-t mangle -F ISTIO_PRERT", "-t nat -D OUTPUT -j ISTIO_OUTPUT", "-t nat -I OUTPUT -j ACCEPT",
              "-t nat -I ISTIO_OUTPUT -j RETURN", "-t nat -A OUTPUT -j ISTIO_OUTPUT", "-t nat -N ISTIO_OTHER",
              "-t nat -R ISTIO_PRERT 2 -p tcp -j REDIRECT --to-ports 15006", "-t filter -N ISTIO_PRERT",
              "-t mangle -D PREROUTING 1", "-t raw -N ISTIO_OUTPUT", "-t raw -I OUTPUT -j NOTRACK"}) {
          changes.push_back(tool + " " + change);
        }
      }
    }
    for (const char* change : {"ip rule del pref 32764", "ip -6 rule del pref 32764", "ip route flush table 100",
                               "ip -6 route flush table 100"}) {
      changes.emplace_back(change);
    }
    for (const auto& change : changes) {
      INFO(change);
      REQUIRE(pod.run(change) == 0);
      CHECK_FALSE(verified(pod, options));
      apply(pod, options);
      CHECK(verified(pod, options));
    }
  }
}

TEST_CASE("rules of others neither disturb nor are disturbed") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Namespace pod;
    const auto nft = [&] { return pod.output("nft list ruleset"); };
    REQUIRE(pod.run("nft 'table inet filter { chain c { tcp dport 1 accept; }; }'") == 0);
    const std::string own = "-t nat -A PREROUTING -i docker0 -p tcp -m comment --comment 'to ISTIO_PRERT' -j RETURN";
    if (!is_nft(backend)) REQUIRE(pod.run(backend.v4.name + " " + own) == 0);
    apply(pod, {.backend = backend});
    CHECK(verified(pod, {.backend = backend}));
    // What is added behind is nobody's business.
    if (!is_nft(backend)) REQUIRE(pod.run(backend.v4.name + " -t nat -A OUTPUT -d 10.9.9.9 -j ACCEPT") == 0);
    CHECK(verified(pod, {.backend = backend}));
    remove(pod, backend);
    CHECK(nft().find("table inet filter") != std::string::npos);
    if (is_nft(backend)) continue;
    CHECK(pod.output(backend.v4.name + "-save").find("-i docker0") != std::string::npos);
    CHECK(pod.output(backend.v4.name + "-save").find("10.9.9.9") != std::string::npos);
  }
}

TEST_CASE("changed options change the rules, and DNS tables go when they are no longer wanted") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Namespace pod;
    apply(pod, {.dns_capture = true, .backend = backend});
    CHECK(verified(pod, {.dns_capture = true, .backend = backend}));
    CHECK_FALSE(verified(pod, {.backend = backend}));
    apply(pod, {.ipv6 = false, .backend = backend});
    CHECK(verified(pod, {.ipv6 = false, .backend = backend}));
    CHECK(rules_in(pod).find("15053") == std::string::npos);
    CHECK(rules_in(pod).find(is_nft(backend) ? "zone set 1" : "--zone 1") == std::string::npos);
    if (!is_nft(backend)) CHECK(pod.output(backend.v6.name + "-save").find("ISTIO") == std::string::npos);
  }
}

TEST_CASE("rules without a zone for deliveries stay without, and open deliveries go on; with it they come anew") {
  for (const auto& from : backends()) {
    for (const auto& to : backends()) {
      INFO(from.to_string() + " to " + to.to_string());
      Pair pair;
      apply(pair.pod, {.backend = from, .delivery_zone = false});
      CHECK(zone_in(pair.pod) == "");
      const auto app = listen_on(pair.pod, "10.77.0.1:8080");
      const auto near = connect_to(pair.pod, "10.77.0.1:8080", {.mark = 0x539, .from = "10.77.0.2"}),
                 served = accept_from(app);
      REQUIRE((near && served));
      for (const bool dns : {true, false}) {
        apply(pair.pod, {.dns_capture = dns, .backend = to});
        CHECK(verified(pair.pod, {.dns_capture = dns, .backend = to}));
        CHECK(zone_in(pair.pod) == "");
        CHECK(passes(near, served));
      }
      remove(pair.pod, to);
      apply(pair.pod, {.backend = to});
      CHECK(zone_in(pair.pod) == "2");
      // And what has it keeps it.
      apply(pair.pod, {.backend = from});
      CHECK(zone_in(pair.pod) == "2");
      CHECK(verified(pair.pod, {.backend = from}));
    }
  }
}

TEST_CASE("rules that istio-cni left in nftables are replaced") {
  Namespace pod;
  REQUIRE(pod.run("nft 'add table inet istio-ambient-nat; add chain inet istio-ambient-nat output { type nat hook output "
                  "priority -100 ; }; add chain inet istio-ambient-nat istio-output; add rule inet istio-ambient-nat output "
                  "jump istio-output; add rule inet istio-ambient-nat istio-output meta l4proto tcp redirect to :15001'") ==
          0);
  REQUIRE(pod.run("ip rule add fwmark 0x111/0xfff lookup 100 pref 32764") == 0);
  CHECK_FALSE(verified(pod, {}));
  apply(pod, {});
  CHECK(verified(pod, {}));
  CHECK(pod.output("ip rule").find("32764", pod.output("ip rule").find("32764") + 1) == std::string::npos);
}

TEST_CASE("rules that istio-cni left in iptables are replaced, behind a pod's own or not") {
  for (const auto& backend : backends()) {
    if (is_nft(backend)) continue;
    INFO(backend.to_string());
    Namespace pod;
    REQUIRE(pod.run(backend.v4.name + " -t nat -A OUTPUT -d 10.9.9.9 -p tcp -j ACCEPT") == 0);
    const std::string text =
        "*mangle\n-N ISTIO_PRERT\n-N ISTIO_OUTPUT\n-A PREROUTING -j ISTIO_PRERT\n-A OUTPUT -j ISTIO_OUTPUT\nCOMMIT\n"
        "*nat\n-N ISTIO_PRERT\n-N ISTIO_OUTPUT\n-A OUTPUT -j ISTIO_OUTPUT\n-A PREROUTING -j ISTIO_PRERT\n"
        "-A ISTIO_OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n";
    REQUIRE(pod.run("sh -c \"printf '" + text + "' | " + backend.v4.name + "-restore --noflush\"") == 0);
    CHECK_FALSE(verified(pod, {.backend = backend}));
    apply(pod, {.backend = backend});
    CHECK(verified(pod, {.backend = backend}));
    // As istio-cni takes them away.
    for (const char* jump : {"mangle -D PREROUTING -j ISTIO_PRERT", "mangle -D OUTPUT -j ISTIO_OUTPUT",
                             "nat -D OUTPUT -j ISTIO_OUTPUT", "nat -D PREROUTING -j ISTIO_PRERT", "nat -F ISTIO_PRERT",
                             "nat -F ISTIO_OUTPUT", "nat -X ISTIO_PRERT", "nat -X ISTIO_OUTPUT", "mangle -F ISTIO_PRERT",
                             "mangle -F ISTIO_OUTPUT", "mangle -X ISTIO_PRERT", "mangle -X ISTIO_OUTPUT"}) {
      CHECK(pod.run(backend.v4.name + " -t " + jump) == 0);
    }
    CHECK_FALSE(verified(pod, {.backend = backend}));
    apply(pod, {.backend = backend});
    CHECK(verified(pod, {.backend = backend}));
    remove(pod, backend);
    CHECK(rules_in(pod).empty());
  }
}

TEST_CASE("a namespace with IPv6 switched off is redirected, and IPv6 rules are there should it come back") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Namespace pod;
    REQUIRE(pod.run("sh -c 'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > "
                    "/proc/sys/net/ipv6/conf/lo/disable_ipv6'") == 0);
    apply(pod, {.backend = backend});
    CHECK(verified(pod, {.backend = backend}));
    CHECK(rules_in(pod).find("::1") != std::string::npos);
    REQUIRE(pod.run("sh -c 'echo 0 > /proc/sys/net/ipv6/conf/lo/disable_ipv6'") == 0);
    CHECK_FALSE(verified(pod, {.backend = backend}));
    apply(pod, {.backend = backend});
    CHECK(verified(pod, {.backend = backend}));
  }
}

TEST_CASE("a descriptor that is no network namespace is an error") {
  const Fd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  CHECK_FALSE(redirect::apply(file, {}));
  CHECK_FALSE(redirect::verify(file, {}));
  CHECK_FALSE(redirect::remove(file));
  CHECK_FALSE(redirect::apply(Fd(), {}));
}

TEST_CASE("with a program that fails a pod is refused, hears why, and has no rules") {
  for (const auto& backend : backends()) {
    // The last one fails, after all others did their work.
    const auto program = is_nft(backend) ? std::string("nft") : backend.v6.name + "-restore";
    INFO(program);
    Namespace pod;
    const weft::testing::TemporaryFolder folder;
    const auto failing = folder.file(program, "#!/bin/sh\necho 'Error: no room' >&2\nexit 1\n");
    std::filesystem::permissions(failing, std::filesystem::perms::owner_all);
    const std::string path = std::getenv("PATH");
    const ScopeExit restore([&] { ::setenv("PATH", path.c_str(), 1); });
    ::setenv("PATH", (folder.path() + ":" + path).c_str(), 1);
    // Options that no other test has, so that nothing is known of them.
    auto refused = redirect::apply(
        pod.fd, {.dns_capture = true, .probes = {.v4 = *IpAddress::parse("192.0.2.77")}, .backend = backend});
    ::setenv("PATH", path.c_str(), 1);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find(program + " failed: Error: no room") != std::string::npos);
    CHECK(rules_in(pod).empty());
  }
}

TEST_CASE("without its program a back end is refused by the name of the package") {
  const std::string path = std::getenv("PATH");
  const ScopeExit restore([&] { ::setenv("PATH", path.c_str(), 1); });
  redirect::Backend missing{.kind = redirect::Backend::Kind::kIptables, .v4 = {"iptables-none", false}};
  Namespace pod;
  auto refused = redirect::apply(pod.fd, {.ipv6 = false, .backend = missing});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::kNotFound);
  CHECK(refused.error().message().find("install the package iptables") != std::string::npos);
  CHECK(rules_in(pod).empty());
}

TEST_CASE("a lock that somebody holds on the node does not hold up a pod") {
  for (const auto& backend : backends()) {
    if (is_nft(backend) || !backend.v4.legacy) continue;
    const Fd held(::open("/run/xtables.lock", O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(held);
    REQUIRE(::flock(held.get(), LOCK_EX) == 0);
    Namespace pod;
    apply(pod, {.backend = backend});
    CHECK(verified(pod, {.backend = backend}));
    REQUIRE(::flock(held.get(), LOCK_UN) == 0);
    // Its own is respected.
    const Fd own(::open(pod.path().c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(::flock(own.get(), LOCK_EX) == 0);
    auto refused = redirect::remove(pod.fd, backend);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code() == ErrorCode::kUnavailable);
    REQUIRE(::flock(own.get(), LOCK_UN) == 0);
    remove(pod, backend);
  }
}
