// What packet rules do to connections. Two namespaces joined by a veth pair: `pod` is redirected, `peer` is not.
#include "cni-plugin/redirect/redirect_test_support.h"

using namespace weft;
using namespace weft::cni;
using namespace weft::cni::testing;

TEST_CASE("connections end where they should, over both families") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Pair pair;
    apply(pair.pod, {.backend = backend});
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
}

TEST_CASE("a delivery and a connection of the caller itself from the same address and port go on beside each other") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Pair pair;
    apply(pair.pod, {.backend = backend});
    for (const bool ipv6 : {false, true}) {
      const std::string target = ipv6 ? "[fd77::1]:8080" : "10.77.0.1:8080", caller = ipv6 ? "fd77::2" : "10.77.0.2";
      INFO(target);
      const auto inbound = listen_on(pair.pod, ipv6 ? "[::]:15006" : "0.0.0.0:15006"), app = listen_on(pair.pod, target);
      for (const bool delivered_first : {false, true}) {
        INFO(delivered_first);
        const Dial direct{.from = caller, .port = static_cast<std::uint16_t>(delivered_first ? 40001 : 40002)};
        Dial delivery = direct;
        delivery.mark = 0x539;
        Fd far, caught, near, served;
        const auto deliver = [&] {
          near = connect_to(pair.pod, target, delivery);
          REQUIRE(near);
          served = accept_from(app);
          REQUIRE(served);
          CHECK(passes(near, served));
        };
        if (delivered_first) deliver();
        far = connect_to(pair.peer, target, direct);
        REQUIRE(far);
        caught = accept_from(inbound);
        REQUIRE(caught);
        CHECK(original(caught) == target);
        CHECK(passes(far, caught));
        if (!delivered_first) deliver();
        CHECK(passes(far, caught));
        CHECK(passes(served, near));
        // Nor does the end of one concern the other.
        near.reset();
        CHECK(passes(caught, far));
      }
    }
  }
}

TEST_CASE("connections that were open before go on, busy or idle, in and out; new ones are caught") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
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
        apply(pair.pod, {.backend = backend});
        CHECK(passes(out, out_far));
        CHECK(passes(in_app, in));
        const auto fresh = connect_to(pair.pod, peer + ":8080");
        REQUIRE(fresh);
        CHECK(accept_from(outbound));
        if (round < 2) remove(pair.pod, backend);
        CHECK(passes(in, in_app));
      }
      CHECK(passes(idle_far, idle));
      // Also when our rules are replaced by themselves.
      REQUIRE(pair.pod.run(is_nft(backend) ? "nft add chain inet istio-ambient-nat another"
                                           : backend.v4.name + " -t nat -N ISTIO_ANOTHER") == 0);
      apply(pair.pod, {.backend = backend});
      CHECK(passes(out, out_far));
      remove(pair.pod, backend);
    }
  }
}

TEST_CASE("a pod that left and came back does not let a new connection pass as an old one") {
  for (const auto& backend : backends()) {
    INFO(backend.to_string());
    Pair pair;
    const auto far = listen_on(pair.peer, "10.77.0.2:8080");
    const auto outbound = listen_on(pair.pod, "0.0.0.0:15001");
    auto old = connect_to(pair.pod, "10.77.0.2:8080"), old_far = accept_from(far);
    const auto ports = *linux::local_address(old.get());
    apply(pair.pod, {.backend = backend});
    CHECK(passes(old, old_far));  // conntrack knows it now, as one that passes
    remove(pair.pod, backend);
    linux::set_reset_on_close(old.get());  // ends unseen
    old.reset();
    apply(pair.pod, {.backend = backend});
    auto fresh = inside(pair.pod.fd, [] { return std::move(*linux::make_tcp_socket(false, linux::Blocking::kYes)); });
    REQUIRE(weft::testing::bind_at(fresh, ports));
    REQUIRE(weft::testing::dial(fresh, *SocketAddress::parse("10.77.0.2:8080")));
    CHECK(accept_from(outbound));
  }
}

TEST_CASE("one back end takes over from another under traffic: connections go on, new ones are caught, nothing is left") {
  for (const auto& from : backends()) {
    for (const auto& to : backends()) {
      if (from == to) continue;
      INFO(from.to_string() + " to " + to.to_string());
      Pair pair;
      const auto far = listen_on(pair.peer, "10.77.0.2:8080"), outbound = listen_on(pair.pod, "0.0.0.0:15001");
      const auto old = connect_to(pair.pod, "10.77.0.2:8080"), old_far = accept_from(far);
      apply(pair.pod, {.dns_capture = true, .backend = from});
      const auto caught = connect_to(pair.pod, "10.77.0.2:8080"), caught_here = accept_from(outbound);
      apply(pair.pod, {.backend = to});
      CHECK(verified(pair.pod, {.backend = to}));
      CHECK_FALSE(verified(pair.pod, {.backend = from}));
      CHECK(passes(old, old_far));
      CHECK(passes(caught, caught_here));
      CHECK(original(caught_here) == "10.77.0.2:8080");
      const auto fresh = connect_to(pair.pod, "10.77.0.2:8080");
      REQUIRE(fresh);
      CHECK(accept_from(outbound));
      // Whoever removes finds both.
      apply(pair.pod, {.backend = from});
      remove(pair.pod, to);
      CHECK(rules_in(pair.pod).empty());
    }
  }
}
