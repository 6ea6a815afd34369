// Policies at work on connections: refused, cut when they change, told apart.
#include <catch2/catch_test_macros.hpp>

#include "ztunnel/test_mesh.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;

TEST_CASE("plain text from outside passes until a policy asks for an identity, then it is reset and counted") {
  MeshWorld mesh;
  CHECK(mesh.ask(*mesh.stranger).reply == "hello");
  CHECK(mesh.callers().back().ip() == ip("10.0.0.3"));
  mesh.deny(kPlainText);
  const auto refused = mesh.ask(*mesh.stranger);
  REQUIRE(refused.error);
  CHECK(refused.error->code() == ErrorCode::kReset);
  CHECK(mesh.count("istio_tcp_connections_closed_total", "response_flags=\"DENY\"") == 1);
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
}

TEST_CASE("plain text to a port of ours, or to a port where nobody listens, is reset") {
  MeshWorld mesh;
  for (const auto port : {kOutboundPort, kInboundPlaintextPort}) {
    CHECK(mesh.ask(*mesh.stranger, "x", {ip("10.0.0.2"), port}).error);
    CHECK(mesh.count("istio_tcp_connections_opened_total") == 0);
  }
  CHECK(mesh.ask(*mesh.stranger, "x", at("10.0.0.2:9")).error);
  CHECK(mesh.count("istio_tcp_connections_failed_total", "response_flags=\"CONNECT\"") == 1);
  CHECK(mesh.ask(*mesh.stranger).reply == "hello");
}

TEST_CASE("plain text to an address that is no host's, as a neighbour can send it, is not taken to the pod's loopback") {
  MeshWorld mesh;
  // What comes from outside for such an address: here the pod sends it to itself.
  mesh.pod_b->redirect_output([](const sim::Flow& flow) -> std::optional<std::uint16_t> {
    if (flow.mark == 1337) return std::nullopt;
    return kInboundPlaintextPort;
  });
  const auto ask = [&](const char* text) { return mesh.ask(*mesh.pod_b, "x", {ip(text), 8080}); };
  for (const auto* text :
       {"127.0.0.2", "127.0.0.1", "::1", "::ffff:127.0.0.2", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"}) {
    CHECK(ask(text).error);
    CHECK(mesh.count("istio_tcp_connections_opened_total") == 0);
  }
  CHECK(mesh.callers().empty());
  CHECK(ask("10.0.0.2").reply == "x");
  CHECK(ask("fd00::2").reply == "x");
}

TEST_CASE(
    "a policy that names the caller refuses its tunnel, the caller's connection is reset, nothing reaches the application") {
  MeshWorld mesh;
  mesh.deny(principal_is("front"));
  const auto refused = mesh.ask(*mesh.pod_a);
  REQUIRE(refused.error);
  CHECK(refused.error->code() == ErrorCode::kReset);
  CHECK(mesh.callers().empty());
  CHECK(mesh.ask_tunnel("10.0.0.2:8080").answer == "http status: 401 Unauthorized");
  CHECK(mesh.ask(*mesh.stranger).reply == "hello");
}

TEST_CASE("a dry-run policy refuses nobody") {
  MeshWorld mesh;
  mesh.deny(principal_is("front"));
  CHECK(mesh.ask(*mesh.pod_a).error);
  mesh.objects.policies.back().dry_run = true;
  mesh.publish();
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
}

TEST_CASE("a policy sees the port the application gets, not the one that was asked for") {
  MeshWorld mesh;
  mesh.objects.workloads[1].application_tunnel = model::ApplicationTunnel{false, 8080};
  mesh.deny({.destination_ports = {80}});
  CHECK(mesh.ask_tunnel("10.0.0.2:80", "hi").reply == "hi");
  mesh.deny({.destination_ports = {8080}}, "final");
  CHECK(mesh.ask_tunnel("10.0.0.2:80").answer == "http status: 401 Unauthorized");
}

TEST_CASE("a policy change ends the open connections it concerns and no others") {
  MeshWorld mesh;
  Seen tunnelled, plain;
  StopSource stop;
  mesh.ask_and_stay(*mesh.pod_a, "a", tunnelled, stop.token());
  mesh.ask_and_stay(*mesh.stranger, "b", plain, stop.token());
  REQUIRE(mesh.world.run_until([&] { return tunnelled.reply == "a" && plain.reply == "b"; }));
  mesh.deny(kPlainText);
  REQUIRE(mesh.world.run_until([&] { return plain.done; }));
  CHECK(plain.error);
  mesh.world.run_for(1s);
  CHECK(!tunnelled.done);
  mesh.objects.policies.clear();
  mesh.deny({.namespaces = {{model::StringMatch::Kind::kExact, "shop"}}});
  REQUIRE(mesh.world.run_until([&] { return tunnelled.done; }));
  CHECK(tunnelled.error->code() == ErrorCode::kReset);
  CHECK(mesh.count("istio_tcp_connections_closed_total", "response_flags=\"DENY\"") == 2);
}

TEST_CASE(
    "a pod that leaves the mesh for a while and comes back with other policies has its open connections judged by them") {
  for (const bool denies : {true, false}) {
    Seen staying;  // outlives the mesh, with which the connection ends
    MeshWorld mesh;
    model::Policy policy{.name = "no",
                         .namespace_name = "shop",
                         .scope = model::PolicyScope::kWorkloadSelector,
                         .action = model::PolicyAction::kDeny};
    policy.rules = {{{principal_is("front")}}};
    mesh.objects.policies = {policy};
    mesh.publish();
    StopSource stop;
    mesh.ask_and_stay(*mesh.pod_a, "a", staying, stop.token());
    REQUIRE(mesh.world.run_until([&] { return staying.reply == "a"; }));
    auto cart = mesh.objects.workloads.back();
    REQUIRE(cart.name == "cart");
    mesh.objects.workloads.pop_back();
    mesh.publish();
    const auto revision = mesh.editor.last()->policy_revision();
    if (denies) cart.authorization_policies = {policy.key()};
    mesh.objects.workloads.push_back(cart);
    mesh.publish();
    mesh.world.run_for(1s);
    CHECK(mesh.editor.last()->policy_revision() == revision);
    CHECK(staying.done == denies);
    CHECK(mesh.count("istio_tcp_connections_closed_total", "response_flags=\"DENY\"") == (denies ? 1 : 0));
  }
}

TEST_CASE("an allow policy that goes away again lets everybody in") {
  MeshWorld mesh;
  mesh.deny(principal_is("front"), "only-front");
  mesh.objects.policies.back().action = model::PolicyAction::kAllow;
  mesh.publish();
  CHECK(mesh.ask(*mesh.pod_a).reply == "hello");
  CHECK(mesh.ask(*mesh.stranger).error);
  mesh.objects.policies.clear();
  mesh.publish();
  CHECK(mesh.ask(*mesh.stranger).reply == "hello");
}
