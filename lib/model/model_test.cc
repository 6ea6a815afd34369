// The decisions as tables: identities, snapshots, routes, admission, verdicts, endpoint choice, baggage.
#include <catch2/catch_test_macros.hpp>

#include <set>

#include "lib/model/admit.h"
#include "lib/model/authorize.h"
#include "lib/model/baggage.h"
#include "lib/model/balance.h"
#include "lib/model/route.h"
#include "lib/model/snapshot_editor.h"

namespace weft::model {
namespace {

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }
SocketAddress at(std::string_view text) { return *SocketAddress::parse(text); }
const Draw kFirst = [](std::uint64_t) { return std::uint64_t{0}; };
const Draw kLast = [](std::uint64_t below) { return below - 1; };

Workload pod(const std::string& ns, const std::string& name, std::string_view address,
             TunnelProtocol protocol = TunnelProtocol::kHbone) {
  Workload workload;
  workload.uid = "Kubernetes//Pod/" + ns + "/" + name;
  workload.name = name;
  workload.namespace_name = ns;
  workload.service_account = name;
  workload.trust_domain = "cluster.local";
  workload.protocol = protocol;
  if (!address.empty()) workload.addresses = {ip(address)};
  return workload;
}

Service service(const std::string& ns, const std::string& name, std::string_view vip) {
  Service value;
  value.name = name;
  value.namespace_name = ns;
  value.hostname = name + "." + ns + ".svc.cluster.local";
  if (!vip.empty()) value.vips = {{"", ip(vip)}};
  value.ports = {{80, 8080}};
  return value;
}

Workload& join(Workload& workload, const Service& service, PortMap ports = {{80, 8080}}) {
  workload.services[service.key().to_string()] = std::move(ports);
  return workload;
}

SnapshotPtr mesh(MeshObjects objects) {
  SnapshotEditor editor;
  editor.replace("test", std::move(objects));
  return editor.commit();
}

// --- identity

TEST_CASE("an identity has exactly five segments after its scheme") {
  auto parsed = Identity::parse("spiffe://cluster.local/ns/shop/sa/web");
  REQUIRE(parsed);
  CHECK(*parsed == Identity{"cluster.local", "shop", "web"});
  CHECK(parsed->to_string() == "spiffe://cluster.local/ns/shop/sa/web");
  CHECK(parsed->principal() == "cluster.local/ns/shop/sa/web");
  CHECK(Identity::parse("spiffe:///ns//sa/"));
  for (auto bad : {"", "spiffe://", "spiffe://td", "spiffe://td/ns/a/sa", "spiffe://td/ns/a/sa/b/", "spiffe://td/ns/a/sa/b/c",
                   "spiffe://td/xx/a/sa/b", "spiffe://td/ns/a/xx/b", "SPIFFE://td/ns/a/sa/b", "https://td/ns/a/sa/b",
                   "td/ns/a/sa/b", "spiffe://td//ns/a/sa/b"}) {
    INFO(bad);
    CHECK_FALSE(Identity::parse(bad));
  }
}

// --- snapshot

TEST_CASE("of workloads with one address a pod with a tunnel wins, host-network ones are not found") {
  auto vm_tcp = pod("a", "vm", "10.0.0.1", TunnelProtocol::kNone);
  vm_tcp.uid = "vm-tcp";
  auto vm_hbone = pod("a", "vm", "10.0.0.1");
  vm_hbone.uid = "vm-hbone";
  auto pod_tcp = pod("a", "tcp", "10.0.0.1", TunnelProtocol::kNone);
  auto pod_hbone = pod("a", "hbone", "10.0.0.1");
  auto host = pod("a", "host", "10.0.0.1");
  host.uid += "-z";
  host.network_mode = NetworkMode::kHostNetwork;
  auto best = [](std::vector<Workload> workloads) {
    auto found = mesh({.workloads = std::move(workloads)})->workload("", ip("10.0.0.1"));
    return found ? found->uid : "";
  };
  CHECK(best({vm_tcp, vm_hbone}) == vm_hbone.uid);
  CHECK(best({vm_tcp, vm_hbone, pod_tcp}) == pod_tcp.uid);
  CHECK(best({pod_hbone, vm_tcp, vm_hbone, pod_tcp, host}) == pod_hbone.uid);
  CHECK(best({host}).empty());
  CHECK_FALSE(mesh({.workloads = {pod_tcp}})->workload("other", ip("10.0.0.1")));
}

TEST_CASE("a virtual address belongs to the client's namespace, then the canonical service, then the first") {
  auto a = service("a", "s", "10.96.0.1");
  auto b = service("b", "s", "10.96.0.1");
  auto c = service("c", "s", "10.96.0.1");
  auto chosen = [](std::vector<Service> services, const char* ns) {
    std::string name = ns ? ns : "";
    auto found = mesh({.services = std::move(services)})->service_by_vip("", ip("10.96.0.1"), ns ? &name : nullptr);
    return found ? found->namespace_name : "";
  };
  CHECK(chosen({a, b, c}, "b") == "b");
  CHECK(chosen({a, b, c}, "x") == "a");
  CHECK(chosen({a, b, c}, nullptr) == "a");
  b.canonical = true;
  CHECK(chosen({a, b, c}, "x") == "b");
  CHECK(chosen({a, b, c}, "c") == "c");
  b.visibility = Visibility::kNamespace;
  CHECK(chosen({a, b, c}, "x") == "a");
  CHECK(chosen({b}, "x").empty());
  CHECK(chosen({b}, "b") == "b");
  CHECK(chosen({b}, nullptr) == "b");
}

TEST_CASE("address blocks count only without an exact address, the longest first") {
  auto wide = service("a", "wide", "");
  wide.cidr_vips = {{"", *Cidr::parse("10.0.0.0/8")}};
  auto narrow = service("b", "narrow", "");
  narrow.cidr_vips = {{"", *Cidr::parse("10.1.0.0/16")}};
  auto exact = service("c", "exact", "10.1.0.5");
  auto snapshot = mesh({.services = {wide, narrow, exact}});
  auto name = [&](std::string_view address, std::string ns, std::string network = "") {
    auto found = snapshot->service_by_vip(network, ip(address), &ns);
    return found ? found->name : "";
  };
  CHECK(name("10.1.0.5", "x") == "exact");
  CHECK(name("10.1.0.6", "x") == "narrow");
  CHECK(name("10.1.0.6", "a") == "wide");  // own namespace before length
  CHECK(name("10.2.0.1", "x") == "wide");
  CHECK(name("11.0.0.1", "x").empty());
  CHECK(name("10.1.0.6", "x", "other").empty());
}

TEST_CASE("endpoints wait for their service and unhealthy ones for a policy that wants them") {
  auto web = service("a", "web", "10.96.0.1");
  auto healthy = pod("a", "ok", "10.0.0.1");
  auto sick = pod("a", "sick", "10.0.0.2");
  sick.status = HealthStatus::kUnhealthy;
  join(healthy, web);
  join(sick, web);
  SnapshotEditor editor;
  editor.upsert("x", healthy);
  editor.upsert("x", sick);
  CHECK(editor.commit()->staged().at("a/" + web.hostname).size() == 2);
  editor.upsert("x", web);
  auto snapshot = editor.commit();
  CHECK(snapshot->staged().empty());
  CHECK(snapshot->service(web.key())->endpoints.size() == 1);
  web.load_balancing = LoadBalancing{{}, LoadBalancingMode::kStandard, HealthPolicy::kAllowAll};
  editor.upsert("x", web);
  CHECK(editor.commit()->service(web.key())->endpoints.size() == 2);
  editor.remove_address("x", sick.uid);
  CHECK(editor.commit()->service(web.key())->endpoints.size() == 1);
  editor.remove_address("x", web.key().to_string());
  CHECK(editor.commit()->services().empty());
  editor.remove_address("x", "a/b/c");
  editor.remove_address("x", "");
  CHECK(editor.commit()->workloads().size() == 1);
}

TEST_CASE("a commit without change gives the same snapshot and unchanged objects are shared") {
  auto web = service("a", "web", "10.96.0.1");
  auto one = pod("a", "one", "10.0.0.1"), two = pod("a", "two", "10.0.0.2");
  join(one, web);
  SnapshotEditor editor;
  editor.replace("x", {.workloads = {one, two}, .services = {web}});
  auto first = editor.commit();
  CHECK(first->revision() == 1);
  editor.replace("x", {.workloads = {two, one}, .services = {web}});
  CHECK(editor.commit() == first);
  two.node = "moved";
  editor.upsert("x", two);
  auto second = editor.commit();
  CHECK(second->revision() == 2);
  CHECK(second->workload(one.uid) == first->workload(one.uid));
  CHECK(second->service(web.key()) == first->service(web.key()));
  CHECK(second->workload(two.uid) != first->workload(two.uid));
  CHECK(first->workload(two.uid)->node.empty());
}

TEST_CASE("the policy revision moves with policies and with lists of policies only") {
  Policy policy{.name = "p", .namespace_name = "a"};
  auto one = pod("a", "one", "10.0.0.1");
  SnapshotEditor editor;
  editor.replace("x", {.workloads = {one}, .policies = {policy}});
  const auto start = editor.commit()->policy_revision();
  one.node = "n";
  editor.upsert("x", one);
  CHECK(editor.commit()->policy_revision() == start);
  one.authorization_policies = {"a/p"};
  editor.upsert("x", one);
  CHECK(editor.commit()->policy_revision() == start + 1);
  policy.action = PolicyAction::kDeny;
  editor.upsert("x", policy);
  CHECK(editor.commit()->policy_revision() == start + 2);
  editor.upsert("x", policy);
  CHECK(editor.commit()->policy_revision() == start + 2);
  editor.remove_policy("x", "a/p");
  CHECK(editor.commit()->policy_revision() == start + 3);
}

TEST_CASE("a pod of this node is found by namespace, name and account") {
  auto one = pod("a", "one", "10.0.0.1");
  one.node = "n1";
  auto snapshot = mesh({.workloads = {one}});
  CHECK(snapshot->local_workload("a", "one", "one", "n1"));
  CHECK(snapshot->local_workload("a", "one", "one", ""));
  CHECK_FALSE(snapshot->local_workload("a", "one", "one", "n2"));
  CHECK_FALSE(snapshot->local_workload("a", "one", "other", "n1"));
}

// --- route

struct Mesh {
  Workload client = pod("a", "client", "10.0.0.1");
  Service web = service("b", "web", "10.96.0.1");
  Workload backend = pod("b", "backend", "10.0.0.2");
  Service waypoint = service("b", "waypoint", "10.96.0.9");
  Workload waypoint_pod = pod("b", "wp", "10.0.0.9");
  std::vector<Workload> more;

  Mesh() {
    waypoint.ports = {{15008, 15008}};
    join(backend, web);
    join(waypoint_pod, waypoint, {{15008, 15008}});
  }
  SnapshotPtr snapshot() const {
    MeshObjects objects{.workloads = {client, backend, waypoint_pod}, .services = {web, waypoint}};
    objects.workloads.insert(objects.workloads.end(), more.begin(), more.end());
    return mesh(std::move(objects));
  }
  Result<Route> route(std::string_view target, const Draw& draw = kFirst) const {
    return choose_route(*snapshot(), client, ip("10.0.0.1"), at(target), 15008, draw);
  }
  std::string error(std::string_view target) const {
    auto chosen = route(target);
    return chosen ? "" : chosen.error().message();
  }
};

GatewayAddress by_name(const Service& service) { return {service.key(), 15008}; }

TEST_CASE("an address the mesh does not know passes through") {
  auto route = Mesh{}.route("192.0.2.1:443");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kPassthrough);
  CHECK(route->hop == at("192.0.2.1:443"));
  CHECK_FALSE(route->destination);
  CHECK_FALSE(route->service);
}

TEST_CASE("a service leads to an endpoint, in a tunnel when that has one") {
  Mesh m;
  m.web.subject_alt_names = {"spiffe://cluster.local/ns/b/sa/extra", "not an identity"};
  auto route = m.route("10.96.0.1:80");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kHbone);
  CHECK(route->hop_kind == HopKind::kWorkload);
  CHECK(route->hop == at("10.0.0.2:15008"));
  CHECK(route->authority == "10.0.0.2:8080");
  CHECK(route->expected == std::vector<Identity>{{"cluster.local", "b", "backend"}, {"cluster.local", "b", "extra"}});
  CHECK(route->destination->name == "backend");
  CHECK(route->service->name == "web");
  m.backend.protocol = TunnelProtocol::kNone;
  route = m.route("10.96.0.1:80");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kTcp);
  CHECK(route->hop == at("10.0.0.2:8080"));
  CHECK(route->authority.empty());
}

TEST_CASE("a workload's address keeps its port") {
  auto route = Mesh{}.route("10.0.0.2:9");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kHbone);
  CHECK(route->hop == at("10.0.0.2:15008"));
  CHECK(route->authority == "10.0.0.2:9");
  CHECK_FALSE(route->service);
}

TEST_CASE("a service without a usable endpoint or with another port is an error, not a passthrough") {
  Mesh m;
  CHECK(m.error("10.96.0.1:81") == "no healthy upstream: 10.96.0.1:81");
  m.backend.services.clear();
  CHECK(m.error("10.96.0.1:80") == "no healthy upstream: 10.96.0.1:80");
  m.web.load_balancing = LoadBalancing{{}, LoadBalancingMode::kPassthrough, HealthPolicy::kOnlyHealthy};
  auto route = m.route("10.96.0.1:80");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kPassthrough);
}

TEST_CASE("a service with a waypoint goes through it with its own address as authority") {
  Mesh m;
  m.web.waypoint = by_name(m.waypoint);
  auto check = [&] {
    auto route = m.route("10.96.0.1:80");
    REQUIRE(route);
    CHECK(route->kind == RouteKind::kHbone);
    CHECK(route->hop_kind == HopKind::kWaypoint);
    CHECK(route->hop == at("10.0.0.9:15008"));
    CHECK(route->authority == "10.96.0.1:80");
    CHECK(route->expected == std::vector<Identity>{{"cluster.local", "b", "wp"}});
    CHECK(route->service->name == "web");
  };
  check();
  m.web.waypoint = GatewayAddress{NetworkAddress{"", ip("10.96.0.9")}, 15008};
  check();
  m.web.waypoint = GatewayAddress{NetworkAddress{"", ip("10.0.0.9")}, 15008};  // a workload by address
  check();
  m.waypoint_pod.hostname = "wp.example";
  m.web.waypoint = GatewayAddress{NamespacedHostname{"b", "wp.example"}, 15008};
  check();
}

TEST_CASE("a waypoint that is unknown, empty or in passthrough is an error") {
  Mesh m;
  m.web.waypoint = GatewayAddress{NamespacedHostname{"b", "nowhere"}, 15008};
  CHECK(m.error("10.96.0.1:80") == "unknown waypoint: waypoint b/nowhere not found");
  m.web.waypoint = by_name(m.waypoint);
  m.waypoint.load_balancing = LoadBalancing{{}, LoadBalancingMode::kPassthrough, HealthPolicy::kOnlyHealthy};
  CHECK(m.error("10.96.0.1:80").starts_with("unknown waypoint: "));
  m.waypoint.load_balancing.reset();
  m.waypoint_pod.services.clear();
  CHECK(m.error("10.96.0.1:80").starts_with("unknown waypoint: "));
}

TEST_CASE("weighted waypoints are drawn by weight and fall back to the plain one") {
  Mesh m;
  m.more = {pod("b", "wp2", "10.0.0.10")};
  m.web.waypoint = by_name(m.waypoint);
  m.web.weighted_waypoints = {{{NetworkAddress{"", ip("10.0.0.9")}, 15008}, 1}, {{NetworkAddress{"", ip("10.0.0.10")}, 15008}, 3}};
  CHECK(m.route("10.96.0.1:80", kFirst)->hop == at("10.0.0.9:15008"));
  CHECK(m.route("10.96.0.1:80", kLast)->hop == at("10.0.0.10:15008"));
  CHECK(m.route("10.96.0.1:80", [](std::uint64_t) { return std::uint64_t{1}; })->hop == at("10.0.0.10:15008"));
  for (auto& weighted : m.web.weighted_waypoints) weighted.weight = 0;
  CHECK(m.route("10.96.0.1:80", kLast)->hop == at("10.0.0.9:15008"));
}

TEST_CASE("a workload's waypoint carries traffic to its address, except from that waypoint") {
  Mesh m;
  m.backend.waypoint = by_name(m.waypoint);
  auto route = m.route("10.0.0.2:80");
  REQUIRE(route);
  CHECK(route->hop == at("10.0.0.9:15008"));
  CHECK(route->authority == "10.0.0.2:80");
  // Service-addressed traffic does not use it.
  CHECK(m.route("10.96.0.1:80")->hop == at("10.0.0.2:15008"));
  auto snapshot = m.snapshot();
  auto from = [&](const Workload& source, std::string_view client_ip) {
    return choose_route(*snapshot, source, ip(client_ip), at("10.0.0.2:80"), 15008, kFirst)->hop;
  };
  CHECK(from(m.waypoint_pod, "10.0.0.9") == at("10.0.0.2:15008"));
  CHECK(from(m.waypoint_pod, "10.0.0.8") == at("10.0.0.9:15008"));  // the identity alone is not enough
  auto impostor = m.client;
  impostor.addresses = m.waypoint_pod.addresses;
  CHECK(from(impostor, "10.0.0.9") == at("10.0.0.9:15008"));  // nor is the address
}

TEST_CASE("an endpoint of another network is reached through its gateway") {
  Mesh m;
  m.backend.network = "remote";
  m.web.subject_alt_names = {"spiffe://cluster.local/ns/b/sa/backend"};
  CHECK(m.error("10.96.0.1:80") == "no valid routing destination for workload: " + m.backend.uid);
  m.backend.network_gateway = GatewayAddress{NamespacedHostname{"gw", "nowhere"}, 15008};
  CHECK(m.error("10.96.0.1:80") == "unknown network gateway: network gateway gw/nowhere not found");
  m.more = {pod("gw", "east", "10.0.9.9")};
  m.backend.network_gateway = GatewayAddress{NetworkAddress{"", ip("10.0.9.9")}, 15009};
  auto route = m.route("10.96.0.1:80");
  REQUIRE(route);
  CHECK(route->kind == RouteKind::kDoubleHbone);
  CHECK(route->hop == at("10.0.9.9:15009"));
  CHECK(route->authority == m.web.hostname + ":80");
  CHECK(route->expected == std::vector<Identity>{{"cluster.local", "gw", "east"}});
  CHECK(route->inner_expected == std::vector<Identity>{{"cluster.local", "b", "backend"}});
}

TEST_CASE("an endpoint without a usable address is an error") {
  Mesh m;
  m.backend.addresses = {ip("fd00::2")};
  m.web.ip_families = IpFamilies::kIpv4Only;
  CHECK(m.error("10.96.0.1:80") == "no valid routing destination for workload: " + m.backend.uid);
}

// --- balance

struct Choice {
  Workload source = pod("a", "client", "10.0.0.1");
  Service web = service("b", "web", "10.96.0.1");
  std::vector<Workload> workloads;
  UpstreamMode mode = UpstreamMode::kStandard;

  Workload& add(const std::string& name, std::string_view address) {
    workloads.push_back(pod("b", name, address));
    return join(workloads.back(), web, {});
  }
  Pick pick(const Draw& draw = kFirst, std::uint16_t port = 80) const {
    auto snapshot = mesh({.workloads = workloads, .services = {web}});
    return choose_endpoint(*snapshot, source, *snapshot->service(web.key()), port, ip("10.96.0.1"), mode, draw);
  }
  // Names of all that can be picked.
  std::set<std::string> pool() const {
    std::set<std::string> names;
    std::uint64_t total = 1;
    for (std::uint64_t ticket = 0; ticket < total; ++ticket) {
      auto chosen = pick([&](std::uint64_t below) {
        total = below;
        return ticket;
      });
      if (chosen.workload) names.insert(chosen.workload->name);
    }
    return names;
  }
};

using Names = std::set<std::string>;

TEST_CASE("endpoints are drawn by capacity, none when all are zero") {
  Choice c;
  c.workloads.reserve(3);
  c.add("x", "10.0.1.1").capacity = 0;
  c.add("y", "10.0.1.2").capacity = 2;
  c.add("z", "10.0.1.3").capacity = 1;
  CHECK(c.pool() == Names{"y", "z"});
  std::map<std::string, int> drawn;
  for (std::uint64_t i = 0; i < 3; ++i) ++drawn[c.pick([i](std::uint64_t) { return i; }).workload->name];
  CHECK(drawn == std::map<std::string, int>{{"y", 2}, {"z", 1}});
  for (auto& workload : c.workloads) workload.capacity = 0;
  CHECK_FALSE(c.pick().workload);
  for (auto& workload : c.workloads) workload.capacity = 0xffffffff;  // the sum does not wrap
  CHECK(c.pick(kLast).workload->name == "z");
}

TEST_CASE("strict wants all preferences, failover the best rank") {
  Choice c;
  c.workloads.reserve(4);
  c.source.locality = {"r1", "z1", "s1"};
  c.add("near", "10.0.1.1").locality = {"r1", "z1", "s9"};
  c.add("region", "10.0.1.2").locality = {"r1", "z2", "s1"};
  c.add("far", "10.0.1.3").locality = {"r2", "z1", "s1"};
  auto with = [&](LoadBalancingMode mode, std::vector<LocalityScope> preferences) {
    c.web.load_balancing = LoadBalancing{std::move(preferences), mode, HealthPolicy::kOnlyHealthy};
    return c.pool();
  };
  using enum LocalityScope;
  using enum LoadBalancingMode;
  CHECK(with(kStandard, {kRegion, kZone}) == Names{"near", "region", "far"});
  CHECK(with(kStrict, {kRegion, kZone}) == Names{"near"});
  CHECK(with(kStrict, {kRegion, kZone, kSubzone}).empty());
  CHECK(with(kStrict, {}) == Names{"near", "region", "far"});
  CHECK(with(kFailover, {kRegion, kZone, kSubzone}) == Names{"near"});
  CHECK(with(kFailover, {kRegion}) == Names{"near", "region"});
  CHECK(with(kFailover, {kNode}) == Names{"near", "region", "far"});  // empty equals empty
  CHECK(with(kFailover, {kSubzone}) == Names{"region", "far"});
  CHECK(with(LoadBalancingMode::kPassthrough, {}).empty());
}

TEST_CASE("with the network preferred first any near endpoint outranks every remote one") {
  Choice c;
  c.workloads.reserve(2);
  c.source.locality = {"r1", "z1", ""};
  c.add("here", "10.0.1.1").locality = {"r2", "z2", ""};
  auto& remote = c.add("remote", "10.0.1.2");
  remote.locality = {"r1", "z1", ""};
  remote.network = "n2";
  using enum LocalityScope;
  c.web.load_balancing = LoadBalancing{{kNetwork, kRegion, kZone}, LoadBalancingMode::kFailover, HealthPolicy::kOnlyHealthy};
  CHECK(c.pool() == Names{"here"});
  c.web.load_balancing->mode = LoadBalancingMode::kStrict;
  CHECK(c.pool().empty());
}

TEST_CASE("the target port is the endpoint's, then the service's, then the tunnel's") {
  Choice c;
  auto& one = c.add("one", "10.0.1.1");
  CHECK(c.pick().port == 8080);
  join(one, c.web, {{80, 9090}});
  CHECK(c.pick().port == 9090);
  join(one, c.web, {{80, 0}});
  CHECK(c.pick().port == 8080);
  c.web.ports = {{80, 0}};
  CHECK_FALSE(c.pick().workload);
  join(one, c.web, {{80, 7070}});
  CHECK(c.pick().port == 7070);
  CHECK_FALSE(c.pick(kFirst, 81).workload);  // not a port of the service
  c.mode = UpstreamMode::kWaypoint;
  CHECK_FALSE(c.pick(kFirst, 15008).workload);
  one.application_tunnel = ApplicationTunnel{true, 15088};
  CHECK(c.pick(kFirst, 15008).port == 15008);
}

TEST_CASE("endpoints without an address are dropped unless a gateway leads to them") {
  Choice c;
  auto& one = c.add("one", "");
  CHECK_FALSE(c.pick().workload);
  one.network_gateway = GatewayAddress{NetworkAddress{"", ip("10.9.9.9")}, 15008};
  CHECK_FALSE(c.pick().workload);
  one.network = "remote";
  REQUIRE(c.pick().workload);
  CHECK_FALSE(c.pick().ip);
}

TEST_CASE("an endpoint is dialled by the family the client used where it can be") {
  auto dual = pod("a", "dual", "fd00::1");
  dual.addresses.push_back(ip("10.0.0.1"));
  dual.addresses.push_back(ip("10.0.0.2"));
  auto web = service("a", "web", "");
  CHECK(choose_ip(dual, &web, ip("10.0.0.2")) == ip("10.0.0.2"));
  CHECK(choose_ip(dual, &web, ip("10.96.0.1")) == ip("10.0.0.1"));
  CHECK(choose_ip(dual, &web, ip("fd00::9")) == ip("fd00::1"));
  web.ip_families = IpFamilies::kIpv6Only;
  CHECK(choose_ip(dual, &web, ip("10.96.0.1")) == ip("fd00::1"));
  CHECK(choose_ip(dual, &web, ip("10.0.0.2")) == ip("10.0.0.2"));  // its own address as dialled
  CHECK(choose_ip(pod("a", "v6", "fd00::1"), nullptr, ip("10.96.0.1")) == ip("fd00::1"));
  CHECK_FALSE(choose_ip(pod("a", "none", ""), nullptr, ip("10.96.0.1")));
}

// --- admit

TEST_CASE("a tunnel's authority is an address or a name with a port, everything else is refused") {
  auto target = [](std::string_view text) { return parse_authority(text); };
  CHECK(std::get<SocketAddress>(*target("10.0.0.1:80")) == at("10.0.0.1:80"));
  CHECK(std::get<SocketAddress>(*target("[fd00::1]:80")) == at("[fd00::1]:80"));
  CHECK(std::get<HostPort>(*target("web.shop.svc:80")) == HostPort{"web.shop.svc", 80});
  const std::string long_host(254, 'a');
  for (const std::string& bad : {std::string(), std::string(":80"), std::string("10.0.0.1"), std::string("web"), std::string("web:"),
                                 std::string("web:x"), std::string("web:80x"), std::string("web:+80"), std::string("web:-1"),
                                 std::string("web: 80"), std::string("web:65536"), std::string("web:99999999999999999999"),
                                 std::string("10.0.0.1:65536"), std::string("[fd00::1]"), std::string("fd00::1:80"),
                                 std::string("[fd00::1:80"), std::string("[fe80::1%eth0]:80"), std::string("user@web:80"),
                                 std::string("http://web:80"), std::string("web/x:80"), std::string("we b:80"),
                                 std::string("web\r\nx:80"), std::string("web\0:80", 7), std::string("w\xc3\xa9" "b:80"),
                                 long_host + ":80", std::string(100000, ':'), std::string(100000, '[')}) {
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
  CHECK(in.refusal(in.web.hostname + ":81").message == "requested service " + in.web.hostname + ":81 found, but cannot resolve port");
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
  CHECK(in.refusal(in.web.hostname + ":80").message == "requested service " + in.web.hostname + " found, but has no IP addresses");
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

// --- authorize

ConnectionFacts from(std::optional<Identity> peer) { return {ip("10.0.0.1"), std::move(peer), at("10.0.0.2:8080")}; }
const Identity kPeer{"cluster.local", "front", "web"};

TEST_CASE("text matches are exact, by prefix, by suffix or by presence") {
  using Kind = StringMatch::Kind;
  struct Row {
    Kind kind;
    std::string pattern, text;
    bool hit;
  };
  for (const auto& row : {Row{Kind::kExact, "a", "a", true}, Row{Kind::kExact, "a", "A", false}, Row{Kind::kExact, "", "", true},
                          Row{Kind::kPrefix, "ab", "abc", true}, Row{Kind::kPrefix, "ab", "a", false},
                          Row{Kind::kPrefix, "a", "", false}, Row{Kind::kPrefix, "", "", true}, Row{Kind::kSuffix, "bc", "abc", true},
                          Row{Kind::kSuffix, "bc", "c", false}, Row{Kind::kPresence, "", "x", true}, Row{Kind::kPresence, "", "", false}})
    CHECK(StringMatch{row.kind, row.pattern}.matches(row.text) == row.hit);
}

TEST_CASE("a match holds when every kind of it holds") {
  using Kind = StringMatch::Kind;
  const auto present = std::vector<StringMatch>{{Kind::kPresence, ""}};
  auto hit = [](const Match& match, std::optional<Identity> peer = kPeer) { return matches(match, from(std::move(peer))); };
  CHECK_FALSE(hit({}));
  CHECK(hit({.namespaces = {{Kind::kExact, "front"}}}));
  CHECK_FALSE(hit({.namespaces = {{Kind::kExact, "back"}}}));
  CHECK(hit({.namespaces = {{Kind::kExact, "back"}, {Kind::kExact, "front"}}}));
  CHECK_FALSE(hit({.namespaces = {{Kind::kExact, "front"}}, .not_namespaces = present}));
  CHECK_FALSE(hit({.namespaces = present}, std::nullopt));
  CHECK(hit({.not_namespaces = present}, std::nullopt));
  CHECK(hit({.principals = {{Kind::kExact, "cluster.local/ns/front/sa/web"}}}));
  CHECK_FALSE(hit({.principals = {{Kind::kExact, "spiffe://cluster.local/ns/front/sa/web"}}}));
  CHECK_FALSE(hit({.principals = present}, std::nullopt));
  CHECK(hit({.not_principals = present}, std::nullopt));
  CHECK_FALSE(hit({.not_principals = present}));
  CHECK(hit({.service_accounts = {{"front", "web"}}}, Identity{"other.domain", "front", "web"}));
  CHECK_FALSE(hit({.service_accounts = {{"front", "other"}}}));
  CHECK_FALSE(hit({.service_accounts = {{"", ""}}}, std::nullopt));
  CHECK(hit({.not_service_accounts = {{"front", "web"}}}, std::nullopt));
  CHECK(hit({.source_ips = {*Cidr::parse("10.0.0.0/24")}}));
  CHECK_FALSE(hit({.source_ips = {*Cidr::parse("fd00::/8")}}));
  CHECK_FALSE(hit({.not_source_ips = {*Cidr::parse("10.0.0.1")}}));
  CHECK(hit({.destination_ips = {*Cidr::parse("10.0.0.2/32")}}));
  CHECK(hit({.destination_ports = {80, 8080}}));
  CHECK_FALSE(hit({.destination_ports = {80}}));
  CHECK_FALSE(hit({.not_destination_ports = {8080}}));
  CHECK_FALSE(hit({.namespaces = {{Kind::kExact, "front"}}, .destination_ports = {80}}));  // kinds are joined by "and"
}

TEST_CASE("rules are alternatives, clauses must all hold, matches are alternatives") {
  const Match yes{.destination_ports = {8080}}, no{.destination_ports = {1}};
  auto rule = [](std::vector<Rule> rules) { return matching_rule(Policy{.rules = std::move(rules)}, from(kPeer)); };
  CHECK_FALSE(rule({}));
  CHECK(rule({Rule{}}) == 0u);
  CHECK(rule({Rule{Clause{}}}) == 0u);
  CHECK_FALSE(rule({Rule{Clause{Match{}}}}));
  CHECK(rule({Rule{Clause{no}}, Rule{Clause{yes}}}) == 1u);
  CHECK_FALSE(rule({Rule{Clause{yes}, Clause{no}}}));
  CHECK(rule({Rule{Clause{no, yes}, Clause{yes}}}) == 0u);
}

Policy policy(const std::string& name, PolicyAction action, std::optional<bool> hits, bool dry_run = false) {
  Policy value{.name = name, .namespace_name = "b", .action = action, .dry_run = dry_run};
  if (hits) value.rules = {Rule{Clause{Match{.destination_ports = {static_cast<std::uint16_t>(*hits ? 8080 : 1)}}}}};
  return value;
}

Verdict judge(std::vector<Policy> policies, std::vector<std::string> named = {}) {
  auto local = pod("b", "backend", "10.0.0.2");
  local.authorization_policies = std::move(named);
  return authorize(*mesh({.workloads = {local}, .policies = std::move(policies)}), local, from(kPeer));
}

TEST_CASE("a matching DENY refuses, else one ALLOW must match if there are any") {
  using enum PolicyAction;
  CHECK(judge({}).allowed);
  CHECK(judge({policy("d", kDeny, false)}).allowed);
  auto verdict = judge({policy("a", kAllow, true), policy("d", kDeny, true)});
  CHECK_FALSE(verdict.allowed);
  CHECK(verdict.reason() == "explicitly denied by: b/d");
  CHECK(verdict.rule == 0u);
  CHECK(verdict.candidates.empty());
  verdict = judge({policy("a", kAllow, false), policy("z", kAllow, true)});
  CHECK(verdict.allowed);
  CHECK(verdict.policy->name == "z");
  CHECK(verdict.reason().empty());
  verdict = judge({policy("a", kAllow, false), policy("b", kAllow, std::nullopt)});
  CHECK_FALSE(verdict.allowed);
  CHECK(verdict.reason() == "allow policies exist, but none allowed");
  CHECK(verdict.candidates.size() == 2);
}

TEST_CASE("dry-run policies are told and never enforced") {
  using enum PolicyAction;
  auto verdict = judge({policy("d", kDeny, true, true)});
  CHECK(verdict.allowed);
  CHECK(verdict.dry_run_matches.size() == 1);
  verdict = judge({policy("a", kAllow, false, true)});
  CHECK(verdict.allowed);
  CHECK(verdict.dry_run_would_refuse);
  CHECK_FALSE(judge({policy("a", kAllow, true, true)}).dry_run_would_refuse);
  CHECK_FALSE(judge({policy("a", kAllow, true, true), policy("b", kAllow, false)}).allowed);
}

TEST_CASE("policies apply by namespace, globally or by name, each once") {
  using enum PolicyAction;
  auto elsewhere = policy("x", kDeny, true);
  elsewhere.namespace_name = "c";
  CHECK(judge({elsewhere}).allowed);
  elsewhere.scope = PolicyScope::kGlobal;
  CHECK_FALSE(judge({elsewhere}).allowed);
  auto selected = policy("s", kDeny, true);
  selected.scope = PolicyScope::kWorkloadSelector;
  CHECK(judge({selected}).allowed);
  CHECK_FALSE(judge({selected}, {"b/s"}).allowed);
  CHECK(judge({policy("a", kAllow, false)}, {"b/a"}).candidates.size() == 1);
}

TEST_CASE("a policy that is named but unknown counts as one that allows nothing") {
  auto verdict = judge({}, {"b/missing"});
  CHECK_FALSE(verdict.allowed);
  CHECK(verdict.unknown_policies == std::vector<std::string>{"b/missing"});
  CHECK(judge({policy("a", PolicyAction::kAllow, true)}, {"b/missing"}).allowed);
}

TEST_CASE("strict mutual TLS refuses plain text and nothing else") {
  auto local = pod("b", "backend", "10.0.0.2");
  Policy strict{.name = "strict", .namespace_name = "b", .action = PolicyAction::kDeny};
  strict.rules = {Rule{Clause{Match{.not_principals = {{StringMatch::Kind::kPresence, ""}}}}}};
  auto snapshot = mesh({.workloads = {local}, .policies = {strict}});
  CHECK_FALSE(authorize(*snapshot, local, from(std::nullopt)).allowed);
  CHECK(authorize(*snapshot, local, from(kPeer)).allowed);
}

// --- baggage

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

}  // namespace
}  // namespace weft::model
