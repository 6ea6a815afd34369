// Which endpoint is taken, as tables.
#include <catch2/catch_test_macros.hpp>
#include <set>

#include "lib/model/test_objects.h"

namespace weft::model {
namespace {

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

TEST_CASE("localities are preferred as listed, and nobody near is no reason to fail over to nobody") {
  Choice c;
  c.workloads.reserve(5);
  c.source.locality = {"r1", "z1", ""};
  auto add = [&](const std::string& name, std::string_view address, const std::string& network, Locality locality) {
    auto& workload = c.add(name, address);
    workload.network = network;
    workload.locality = std::move(locality);
  };
  using enum LocalityScope;
  auto pool = [&](std::vector<LocalityScope> preferences) {
    c.web.load_balancing = LoadBalancing{std::move(preferences), LoadBalancingMode::kFailover, HealthPolicy::kOnlyHealthy};
    return c.pool();
  };
  add("far", "10.0.2.1", "n2", {"r9", "z9", ""});
  CHECK(pool({kNetwork, kRegion, kZone}) == Names{"far"});  // no match at all: any
  add("far-zone", "10.0.2.2", "n2", {"r1", "z1", ""});
  CHECK(pool({kRegion, kZone}) == Names{"far-zone"});            // across networks
  CHECK(pool({kNetwork, kRegion, kZone}) == Names{"far-zone"});  // the nearest of the remote ones
  add("net", "10.0.1.1", "", {"r9", "z9", ""});
  CHECK(pool({kNetwork, kRegion, kZone}) == Names{"net"});
  add("net-region", "10.0.1.2", "", {"r1", "z9", ""});
  CHECK(pool({kNetwork, kRegion, kZone}) == Names{"net-region"});
  add("net-region-zone", "10.0.1.3", "", {"r1", "z1", ""});
  CHECK(pool({kNetwork, kRegion, kZone}) == Names{"net-region-zone"});
  CHECK(pool({kNetwork}) == Names{"net", "net-region", "net-region-zone"});
  CHECK(pool({kZone}) == Names{"far-zone", "net-region-zone"});
  c.workloads[4].addresses.clear();  // without an address it is never chosen
  CHECK(pool({kNetwork, kRegion, kZone}) == Names{"net-region"});
}

}  // namespace
}  // namespace weft::model
