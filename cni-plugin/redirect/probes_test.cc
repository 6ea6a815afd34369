// The exemption of health probes in real network namespaces.
#include "cni-plugin/redirect/probes.h"

#include "cni-plugin/redirect/redirect_test_support.h"

using namespace weft;
using namespace weft::cni;
using namespace weft::cni::testing;

TEST_CASE("the node's own connections to listed pods reach the application, and nobody else's do") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Pair pair;
    apply(pair.pod, {.backend = backend});
    const redirect::ProbeOptions root{.backend = backend};
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
      // Only nftables can tell whose a connection is.
      if (is_nft(backend)) {
        REQUIRE(redirect::exempt_probes(pair.peer.fd, {.kubelet = 12345, .backend = backend}, pods));
        CHECK(ends_at(proxy) == node);
      }
      REQUIRE(redirect::exempt_probes(pair.peer.fd, root, {{*IpAddress::parse(other), "uid-1"}}));
      CHECK(ends_at(proxy) == node);
      REQUIRE(redirect::exempt_probes(pair.peer.fd, root, pods));
      REQUIRE(redirect::remove_probes(pair.peer.fd, backend));
      CHECK(ends_at(proxy) == node);
    }
  }
}

TEST_CASE("the node's rules are replaced, verified and removed, whoever changed them") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Namespace node;
    const redirect::ProbeOptions options{.backend = backend};
    redirect::ProbedPods pods;
    for (int i = 0; i < 300; ++i) {
      pods[*IpAddress::parse(fmt::format("10.0.{}.{}", i / 250, i % 250 + 1))] = fmt::format("uid-{}", i);
      pods[*IpAddress::parse(fmt::format("fd00::{:x}", i + 1))] = fmt::format("uid-{}", i);
    }
    const auto right = [&] {
      auto result = redirect::verify_probes(node.fd, options, pods);
      return result && *result;
    };
    REQUIRE(redirect::remove_probes(node.fd, backend));
    CHECK(node.output("nft list ruleset").empty());
    CHECK_FALSE(right());
    REQUIRE(node.run("nft 'table inet others { chain c { tcp dport 1 accept; }; }'") == 0);
    std::vector<std::string> changes{"nft flush ruleset",
                                     "nft delete table inet istio-ambient-nat",
                                     "nft flush chain inet istio-ambient-nat postrouting",
                                     "nft flush set inet istio-ambient-nat istio-inpod-probes-v4",
                                     "nft 'delete element inet istio-ambient-nat istio-inpod-probes-v6 { fd00::7 }'",
                                     "nft 'add element inet istio-ambient-nat istio-inpod-probes-v4 { 10.9.9.9 }'",
                                     "nft insert rule inet istio-ambient-nat postrouting accept"};
    if (!is_nft(backend)) {
      changes = {backend.v4.name + " -t nat -F", backend.v6.name + " -t nat -F ISTIO_POSTRT",
                 backend.v4.name + " -t nat -I ISTIO_POSTRT -j RETURN", backend.v6.name + " -t nat -D POSTROUTING 1",
                 backend.v4.name + " -t nat -A POSTROUTING -j ISTIO_POSTRT"};
    }
    REQUIRE(redirect::exempt_probes(node.fd, options, pods));
    CHECK(right());
    for (const auto& change : changes) {
      INFO(change);
      REQUIRE(node.run(change) == 0);
      CHECK_FALSE(right());
      REQUIRE(redirect::exempt_probes(node.fd, options, pods));
      CHECK(right());
    }
    pods.erase(pods.begin());
    CHECK_FALSE(right());
    REQUIRE(redirect::exempt_probes(node.fd, options, pods));
    CHECK(right());
    REQUIRE(node.run("nft 'table inet others { chain c { tcp dport 1 accept; }; }'") == 0);
    REQUIRE(redirect::remove_probes(node.fd, backend));
    CHECK(rules_in(node).empty());
    CHECK(node.output("nft list tables").find("table inet others\n") != std::string::npos);
  }
}

TEST_CASE("the addresses of probed pods are compared one by one, with their pods") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Namespace node;
    const redirect::ProbeOptions options{.backend = backend};
    const redirect::ProbedPods pods{{*IpAddress::parse("10.0.0.5"), "uid-1"}, {*IpAddress::parse("fd00::5"), "uid \"1\n"}};
    REQUIRE(redirect::exempt_probes(node.fd, options, pods));
    const auto right = [&](const redirect::ProbedPods& expected) {
      auto result = redirect::verify_probes(node.fd, options, expected);
      REQUIRE(result);
      return *result;
    };
    CHECK(right(pods));
    CHECK_FALSE(right({}));
    CHECK_FALSE(right({{*IpAddress::parse("10.0.0.5"), "uid-1"}}));
    CHECK_FALSE(right({{*IpAddress::parse("10.0.0.5"), "uid-2"}, {*IpAddress::parse("fd00::5"), "uid \"1\n"}}));
    CHECK_FALSE(right({{*IpAddress::parse("10.0.0.6"), "uid-1"}, {*IpAddress::parse("fd00::5"), "uid \"1\n"}}));
  }
}

TEST_CASE("on the node, too, one back end takes over from another, beside a service proxy's rules") {
  for (const auto& from : backends()) {
    for (const auto& to : backends()) {
      if (from == to) continue;
      INFO(from.to_string() + " to " + to.to_string());
      Namespace node;
      const redirect::ProbedPods pods{{*IpAddress::parse("10.0.0.5"), "uid-1"}, {*IpAddress::parse("fd00::5"), "uid-1"}};
      for (const auto* each : {&from, &to}) {
        if (!is_nft(*each)) REQUIRE(node.run(each->v4.name + " -t nat -A POSTROUTING -d 10.1.1.1 -j MASQUERADE") == 0);
      }
      REQUIRE(redirect::exempt_probes(node.fd, {.backend = from}, pods));
      REQUIRE(redirect::exempt_probes(node.fd, {.backend = to}, pods));
      REQUIRE(redirect::remove_other_probes(node.fd, to));
      auto right = redirect::verify_probes(node.fd, {.backend = to}, pods);
      REQUIRE(right);
      CHECK(*right);
      auto old = redirect::verify_probes(node.fd, {.backend = from}, pods);
      CHECK_FALSE((old && *old));
      REQUIRE(redirect::remove_probes(node.fd, to));
      CHECK(rules_in(node).empty());
      for (const auto* each : {&from, &to}) {
        if (!is_nft(*each)) CHECK(node.output(each->v4.name + "-save").find("-d 10.1.1.1/32") != std::string::npos);
      }
    }
  }
}
