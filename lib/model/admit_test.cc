// Which tunnels are let in and where they lead; what they say about their end.
#include "lib/model/admit.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/model/baggage.h"
#include "lib/model/test_objects.h"

namespace weft::model {
namespace {

TEST_CASE("a tunnel's authority is an address or a name with a port, everything else is refused") {
  auto target = [](std::string_view text) { return parse_authority(text); };
  CHECK(std::get<SocketAddress>(*target("10.0.0.1:80")) == at("10.0.0.1:80"));
  CHECK(std::get<SocketAddress>(*target("[fd00::1]:80")) == at("[fd00::1]:80"));
  CHECK(std::get<HostPort>(*target("web.shop.svc:80")) == HostPort{"web.shop.svc", 80});
  const std::string long_host(254, 'a');
  for (const std::string& bad : {std::string(),
                                 std::string(":80"),
                                 std::string("10.0.0.1"),
                                 std::string("web"),
                                 std::string("web:"),
                                 std::string("web:x"),
                                 std::string("web:80x"),
                                 std::string("web:+80"),
                                 std::string("web:-1"),
                                 std::string("web: 80"),
                                 std::string("web:65536"),
                                 std::string("web:99999999999999999999"),
                                 std::string("10.0.0.1:65536"),
                                 std::string("[fd00::1]"),
                                 std::string("fd00::1:80"),
                                 std::string("[fd00::1:80"),
                                 std::string("[fe80::1%eth0]:80"),
                                 std::string("user@web:80"),
                                 std::string("http://web:80"),
                                 std::string("web/x:80"),
                                 std::string("we b:80"),
                                 std::string("web\r\nx:80"),
                                 std::string("web\0:80", 7),
                                 std::string("w\xc3\xa9"
                                             "b:80"),
                                 long_host + ":80",
                                 std::string(100000, ':'),
                                 std::string(100000, '[')}) {
    INFO(bad.substr(0, 300));
    auto parsed = target(bad);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().message().starts_with("no valid authority pseudo header: "));
    CHECK(parsed.error().message().size() < 400);
    CHECK(parsed.error().message().find('\n') == std::string::npos);
  }
}

struct Inbound {
  Service web = service("b", "web", "10.96.0.1");
  Workload local = pod("b", "backend", "10.0.0.2");
  std::vector<Workload> workloads;
  std::vector<Service> services;

  Inbound() { join(local, web); }
  std::variant<Admission, Refusal> admit(std::string_view authority, std::string_view host = "") const {
    MeshObjects objects{.workloads = workloads, .services = services};
    objects.workloads.push_back(local);
    objects.services.push_back(web);
    return model::admit(*mesh(std::move(objects)), local, ip("10.0.0.2"), *parse_authority(authority), host,
                        [](std::uint16_t port) { return port == 15001 || port == 15008; });
  }
  Refusal refusal(std::string_view authority) const {
    auto result = admit(authority);
    auto* refused = std::get_if<Refusal>(&result);
    return refused ? *refused : Refusal{200, ""};
  }
};

TEST_CASE("a tunnel to the pod's own address is admitted with the port it names") {
  Inbound in;
  auto admitted = std::get<Admission>(in.admit("10.0.0.2:8080"));
  CHECK(admitted.upstream == at("10.0.0.2:8080"));
  CHECK_FALSE(admitted.proxy_protocol);
  CHECK(admitted.service->name == "web");
  CHECK_FALSE(std::get<Admission>(in.admit("10.0.0.2:1")).service);
  CHECK(std::get<Admission>(in.admit("10.0.0.2:1", in.web.hostname)).service->name == "web");
  CHECK_FALSE(std::get<Admission>(in.admit("10.0.0.2:1", "not.mine")).service);
}

TEST_CASE("a tunnel elsewhere is refused") {
  Inbound in;
  CHECK(in.refusal("10.0.0.3:80").status == 400);
  CHECK(in.refusal("10.0.0.3:80").message == "ip mismatch: 10.0.0.2 != 10.0.0.3");
  CHECK(in.refusal("127.0.0.1:80").status == 400);
  CHECK(in.refusal("10.96.0.1:80").status == 400);
  CHECK(in.refusal("10.0.0.2:15001").status == 503);
  CHECK(in.refusal("10.0.0.2:15008").message == "attempted recursive call to ourselves");
  CHECK(in.refusal("nowhere:80").message == "no service or workload for hostname: nowhere");
  CHECK(in.refusal(in.web.hostname + ":81").message ==
        "requested service " + in.web.hostname + ":81 found, but cannot resolve port");
}

TEST_CASE("a tunnel to a name takes the pod's port for that service") {
  Inbound in;
  CHECK(std::get<Admission>(in.admit(in.web.hostname + ":80")).upstream == at("10.0.0.2:8080"));
  join(in.local, in.web, {{80, 9090}});
  CHECK(std::get<Admission>(in.admit(in.web.hostname + ":80")).upstream == at("10.0.0.2:9090"));
  in.web.namespace_name = "other";
  in.web.visibility = Visibility::kNamespace;
  CHECK(in.refusal(in.web.hostname + ":80").status == 503);
}

TEST_CASE("a pod with an application tunnel takes any address and may want a PROXY header") {
  Inbound in;
  in.local.application_tunnel = ApplicationTunnel{true, 15088};
  auto admitted = std::get<Admission>(in.admit("10.7.7.7:80"));
  CHECK(admitted.upstream == at("10.0.0.2:15088"));
  CHECK(admitted.proxy_protocol);
  CHECK(admitted.proxy_destination == at("10.7.7.7:80"));
  admitted = std::get<Admission>(in.admit(in.web.hostname + ":80"));
  CHECK(admitted.proxy_destination == at("10.96.0.1:80"));
  in.web.vips.clear();
  CHECK(in.refusal(in.web.hostname + ":80").message ==
        "requested service " + in.web.hostname + " found, but has no IP addresses");
  in.local.application_tunnel = ApplicationTunnel{false, std::nullopt};
  admitted = std::get<Admission>(in.admit("10.7.7.7:80"));
  CHECK(admitted.upstream == at("10.0.0.2:80"));
  CHECK_FALSE(admitted.proxy_protocol);
}

TEST_CASE("a waypoint takes tunnels for what it stands in front of") {
  Inbound in;
  auto other = pod("b", "other", "10.0.0.3");
  auto guarded = service("b", "guarded", "10.96.0.7");
  other.waypoint = by_name(in.web);
  guarded.waypoint = GatewayAddress{NetworkAddress{"", ip("10.0.0.2")}, 15008};
  auto stranger = pod("b", "stranger", "10.0.0.4");
  stranger.waypoint = GatewayAddress{NetworkAddress{"", ip("10.0.0.3")}, 15008};
  in.workloads = {other, stranger};
  in.services = {guarded};
  CHECK(in.refusal("10.0.0.3:80").status == 200);
  CHECK(in.refusal("10.96.0.7:80").status == 200);
  CHECK(in.refusal("10.0.0.4:80").status == 400);
}

TEST_CASE("baggage lists what is known of a workload in a fixed order") {
  auto web = pod("shop", "web", "10.0.0.1");
  web.cluster_id = "Kubernetes";
  web.workload_name = "web";
  web.canonical_name = "web";
  web.canonical_revision = "v1";
  web.locality = {"eu", "eu-a", "ignored"};
  CHECK(format_baggage(web) ==
        "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.deployment.name=web,service.name=web,service.version=v1,"
        "cloud.region=eu,cloud.availability_zone=eu-a");
  web.workload_type = WorkloadType::kCronJob;
  web.canonical_name = "a,b=c";
  web.canonical_revision = "v\r\n";
  web.locality = {};
  CHECK(format_baggage(web) == "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.cronjob.name=web");
  CHECK(format_baggage(Workload{}).empty());
}

TEST_CASE("baggage is read leniently and never trusted with more than it may hold") {
  auto parse = [](std::vector<std::string_view> fields) { return parse_baggage(fields); };
  const Baggage all{"K1", "NS1", "N1", "N2", "V1", "R", "Z"};
  CHECK(parse({"k8s.cluster.name=K1,k8s.namespace.name=NS1,k8s.deployment.name=N1,service.name=N2,service.version=V1,"
               "cloud.region=R,cloud.availability_zone=Z"}) == all);
  CHECK(parse({"k8s.cluster.name=,k8s.namespace.name=,service.version="}) == Baggage{});
  CHECK(parse({"service.name=a", "service.name=b"}).canonical_name == "b");
  CHECK(parse({"k8s.pod.name=p"}).workload_name == "p");
  CHECK(parse({"k8s.job.name=j"}).workload_name == "j");
  CHECK(parse({"service.name=a=b"}).canonical_name == "a");
  CHECK(parse({" service.name=a, service.version=b"}) == Baggage{});
  CHECK(parse({"service.name", ",,,", "=", "x=y"}) == Baggage{});
  CHECK(parse({"service.name=a", "x=\xff"}) == Baggage{});
  CHECK(parse({"service.name=a", std::string(9000, ',')}) == Baggage{});
  CHECK(parse({}) == Baggage{});
}

TEST_CASE("a waypoint of services takes no tunnels for their pods, and one of pods none for their services") {
  Inbound in;
  auto behind = service("b", "behind", "10.96.0.7");
  auto target = pod("b", "target", "10.0.0.3");
  join(target, behind);
  for (const auto& waypoint : {by_name(in.web), GatewayAddress{NetworkAddress{"", ip("10.96.0.1")}, 15008},
                               GatewayAddress{NetworkAddress{"", ip("10.0.0.2")}, 15008}}) {
    behind.waypoint = waypoint;
    target.waypoint.reset();
    in.workloads = {target};
    in.services = {behind};
    CHECK(in.refusal("10.96.0.7:80").status == 200);
    CHECK(in.refusal("10.0.0.3:80").message == "ip mismatch: 10.0.0.2 != 10.0.0.3");
    std::swap(behind.waypoint, target.waypoint);
    in.workloads = {target};
    in.services = {behind};
    CHECK(in.refusal("10.96.0.7:80").message == "ip mismatch: 10.0.0.2 != 10.96.0.7");
    CHECK(in.refusal("10.0.0.3:80").status == 200);
  }
}

TEST_CASE("what baggage is written is read as it was") {
  auto web = pod("shop", "web-0", "10.0.0.1");
  web.cluster_id = "K";
  web.workload_name = "web";
  web.canonical_name = "web-app";
  web.canonical_revision = "v1";
  web.locality = {"eu", "eu-a", ""};
  const std::string text = format_baggage(web);
  const std::string_view field = text;
  CHECK(parse_baggage({&field, 1}) == Baggage{"K", "shop", "web", "web-app", "v1", "eu", "eu-a"});
}

}  // namespace
}  // namespace weft::model
