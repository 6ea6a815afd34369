// Tunnels that come in, end to end: which are let in, where they lead, what their ends are told.
#include "ztunnel/inbound/tunnel.h"

#include <catch2/catch_test_macros.hpp>

#include "ztunnel/test_mesh.h"

using namespace weft;
using namespace weft::ztunnel;

namespace {

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

model::GatewayAddress by_address(const char* text) { return {model::NetworkAddress{"", ip(text)}, 15008}; }

}  // namespace

TEST_CASE("a member of the mesh gets no tunnel to loopback, to other pods, to our own ports or by another method") {
  MeshWorld mesh;
  auto ask = [&](const std::string& authority, const std::string& method = "CONNECT", std::size_t padding = 0) {
    http2::Headers request = {{":method", method}, {":authority", authority}};
    if (method != "CONNECT") request.insert(request.begin() + 1, {{":scheme", "https"}, {":path", "/"}});
    if (padding > 0) request.emplace_back("x-padding", std::string(padding, 'p'));
    return mesh.ask_tunnel(std::move(request)).answer;
  };
  CHECK(ask("10.0.0.2:8080") == "200");
  CHECK(ask("127.0.0.1:8080") == "http status: 400 Bad Request");
  CHECK(ask("[::1]:8080") == "http status: 400 Bad Request");
  CHECK(ask("10.0.0.1:8080") == "http status: 400 Bad Request");
  CHECK(ask("169.254.169.254:80") == "http status: 400 Bad Request");
  CHECK(ask("[::ffff:127.0.0.1]:8080") == "http status: 400 Bad Request");
  CHECK(ask("0.0.0.0:8080") == "http status: 400 Bad Request");
  CHECK(ask("10.0.0.2:0") != "200");
  CHECK(ask("nonsense") == "http status: 400 Bad Request");
  CHECK(ask("10.0.0.2:8080", "GET") == "http status: 400 Bad Request");
  for (const auto port : {kOutboundPort, kInboundPlaintextPort, kHbonePort})
    CHECK(ask("10.0.0.2:" + std::to_string(port)) == "http status: 503 Service Unavailable");
  CHECK(ask("no-such-host.example:80") == "http status: 503 Service Unavailable");
  CHECK(ask("10.0.0.2:8080", "CONNECT", 20'000) != "200");
  CHECK(mesh.callers().size() == 1);
  CHECK(ask("10.0.0.2:8080") == "200");
}

TEST_CASE("a peer of another trust domain, of another authority or without an identity gets no tunnel") {
  MeshWorld mesh;
  const http2::Headers request = {{":method", "CONNECT"}, {":authority", "10.0.0.2:8080"}};
  CHECK(mesh.ask_tunnel(request, "", {"other.domain", "shop", "front"}).answer != "200");
  const tls::TestAuthority foreign(mesh.world.clock().wall(), "another root", tls::KeyKind::kEd25519);
  CHECK(mesh.ask_tunnel_as(foreign.credentials(identity_of("front").to_string()), request).answer != "200");
  const auto& authority = mesh.source.authority;
  CHECK(mesh.ask_tunnel_as(authority.credentials(authority.leaf({.dns = {"front.shop"}})), request).answer != "200");
  CHECK(mesh.callers().empty());
  CHECK(mesh.ask_tunnel(request).answer == "200");
}

TEST_CASE("a tunnel to a service's name takes its port, also one that only this pod knows by number") {
  MeshWorld mesh;
  auto* web = mesh.describe_service("web", "10.96.0.1", {{80, 8080}, {81, 0}});
  MeshWorld::join(mesh.objects.workloads[1], *web, {{81, 8080}});
  mesh.publish();
  CHECK(mesh.ask_tunnel("web.shop.svc.cluster.local:80", "hi").reply == "hi");
  CHECK(mesh.ask_tunnel("web.shop.svc.cluster.local:81", "hi").reply == "hi");
  CHECK(mesh.ask_tunnel("web.shop.svc.cluster.local:82").answer == "http status: 503 Service Unavailable");
  CHECK(mesh.count("istio_tcp_connections_opened_total", "destination_service_name=\"web\"") == 2);
}

TEST_CASE("a pod with an application tunnel takes any address, and tells the application both ends on its loopback") {
  for (const bool on_loopback : {true, false}) {
    auto settings = MeshWorld::make_settings();
    settings.localhost_app_tunnel = on_loopback;
    MeshWorld mesh(1, settings);
    mesh.objects.workloads[1].application_tunnel = model::ApplicationTunnel{true, 15088};
    mesh.describe_service("portless", "10.96.0.7", {});
    mesh.publish();
    auto& application = mesh.serve(*mesh.pod_b, 15088);
    const auto seen = mesh.ask_tunnel("10.96.0.7:80", "hi");
    CHECK(seen.answer == "200");
    REQUIRE(application.callers.size() == 1);
    CHECK(application.arrived[0].ip() == (on_loopback ? IpAddress::loopback(false) : ip("10.0.0.2")));
    CHECK(application.callers[0].ip() == (on_loopback ? IpAddress::loopback(false) : ip("10.0.0.3")));
    CHECK(mesh.callers().empty());
    // The application said back what it was sent: the header, then the caller's bytes.
    REQUIRE(seen.reply.size() > 28);
    CHECK(seen.reply.starts_with(kSignature + "\x21\x11"));
    CHECK(seen.reply.substr(16, 8) == std::string("\x0a\x00\x00\x03\x0a\x60\x00\x07", 8));
    CHECK(seen.reply.substr(26, 2) == std::string("\x00\x50", 2));
    CHECK(seen.reply.find(identity_of("front").to_string()) != std::string::npos);
    CHECK(seen.reply.ends_with("hi"));
  }
}

TEST_CASE("an application tunnel without a PROXY header only changes the port") {
  MeshWorld mesh;
  mesh.objects.workloads[1].application_tunnel = model::ApplicationTunnel{false, 8080};
  mesh.publish();
  CHECK(mesh.ask_tunnel("10.7.7.7:80", "hi").reply == "hi");
  CHECK(mesh.callers().at(0).ip() == ip("10.0.0.3"));
}

TEST_CASE("a waypoint of ours is let in for what it stands in front of and for nothing else") {
  MeshWorld mesh;
  auto* guarded = mesh.describe_service("guarded", "10.96.0.7", {{8080, 8080}});
  mesh.publish();
  CHECK(mesh.ask_tunnel("10.96.0.7:8080").answer == "http status: 400 Bad Request");
  guarded->waypoint = by_address("10.0.0.2");
  mesh.publish();
  CHECK(mesh.ask_tunnel("10.96.0.7:8080", "hi").reply == "hi");
  CHECK(mesh.ask_tunnel("10.0.0.1:8080").answer == "http status: 400 Bad Request");
  mesh.objects.workloads[0].waypoint = by_address("10.0.0.2");
  mesh.publish();
  CHECK(mesh.ask_tunnel("10.0.0.1:8080", "hi").reply == "hi");
  CHECK(mesh.callers().size() == 2);
}

TEST_CASE("the answer describes the pod while that is switched on, and a refusal describes nothing") {
  const std::string cart = "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.deployment.name=cart,service.name=cart";
  for (const bool on : {true, false}) {
    auto settings = MeshWorld::make_settings();
    settings.response_baggage = on;
    MeshWorld mesh(1, settings);
    CHECK(mesh.ask_tunnel("10.0.0.2:8080").baggage == (on ? cart : ""));
    CHECK(mesh.ask_tunnel("10.0.0.1:8080").baggage.empty());
    CHECK(mesh.ask_tunnel("10.0.0.2:9").baggage.empty());
  }
}

TEST_CASE("a caller that the mesh does not know is described by its own words while that is switched on") {
  const http2::Headers request = {{":method", "CONNECT"},
                                  {":authority", "10.0.0.2:8080"},
                                  {"baggage", "k8s.namespace.name=ns9,k8s.deployment.name=w9,service.name=c9"}};
  for (const bool on : {true, false}) {
    auto settings = MeshWorld::make_settings();
    settings.response_baggage = on;
    MeshWorld mesh(1, settings);
    CHECK(mesh.ask_tunnel(request).answer == "200");
    CHECK(mesh.count("istio_tcp_connections_opened_total", "source_workload=\"w9\",source_canonical_service=\"c9\"") ==
          (on ? 1 : 0));
    // Who it is never depends on words.
    CHECK(mesh.count("istio_tcp_connections_opened_total", "source_principal=\"spiffe://cluster.local/ns/shop/sa/front\"") ==
          1);
    // Nor do words count against what the mesh knows.
    mesh.describe("known", {ip("10.0.0.3")}, "node-z");
    mesh.publish();
    CHECK(mesh.ask_tunnel(request).answer == "200");
    CHECK(mesh.count("istio_tcp_connections_opened_total", "source_workload=\"known\"") == 1);
    // A request that came from another network may have any address.
    auto forwarded = request;
    forwarded.emplace_back("x-forwarded-network", "far");
    CHECK(mesh.ask_tunnel(forwarded).answer == "200");
    CHECK(mesh.count("istio_tcp_connections_opened_total", "source_workload=\"known\"") == 1);
  }
}

TEST_CASE("an application that does not listen is an answer of 503 and a failed connection") {
  MeshWorld mesh;
  CHECK(mesh.ask_tunnel("10.0.0.2:9").answer == "http status: 503 Service Unavailable");
  CHECK(mesh.count("istio_tcp_connections_failed_total", "response_flags=\"CONNECT\"") == 1);
}
