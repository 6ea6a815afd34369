// What the mesh knows and how an update changes it; identities.
#include <catch2/catch_test_macros.hpp>

#include "lib/model/snapshot_editor.h"
#include "lib/model/test_objects.h"

namespace weft::model {
namespace {

TEST_CASE("an identity has exactly five segments after its scheme") {
  auto parsed = Identity::parse("spiffe://cluster.local/ns/shop/sa/web");
  REQUIRE(parsed);
  CHECK(*parsed == Identity{"cluster.local", "shop", "web"});
  CHECK(parsed->to_string() == "spiffe://cluster.local/ns/shop/sa/web");
  CHECK(parsed->principal() == "cluster.local/ns/shop/sa/web");
  CHECK(Identity::parse("spiffe:///ns//sa/"));
  for (auto bad : {"", "spiffe://", "spiffe://td", "spiffe://td/ns/a/sa", "spiffe://td/ns/a/sa/b/",
                   "spiffe://td/ns/a/sa/b/c", "spiffe://td/xx/a/sa/b", "spiffe://td/ns/a/xx/b", "SPIFFE://td/ns/a/sa/b",
                   "https://td/ns/a/sa/b", "td/ns/a/sa/b", "spiffe://td//ns/a/sa/b"}) {
    INFO(bad);
    CHECK_FALSE(Identity::parse(bad));
  }
}

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

}  // namespace
}  // namespace weft::model
