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

TEST_CASE("a service that leaves gives its address back to the others, by address and by name") {
  auto a = service("a", "s", "10.96.0.1");
  auto b = service("b", "s", "10.96.0.1");
  b.hostname = a.hostname;
  SnapshotEditor editor;
  editor.upsert("x", a);
  editor.upsert("x", b);
  auto names = [&](std::string ns) {
    auto snapshot = editor.commit();
    auto by_vip = snapshot->service_by_vip("", ip("10.96.0.1"), &ns);
    auto by_name = snapshot->service_by_hostname(a.hostname, &ns);
    return std::pair(by_vip ? by_vip->namespace_name : "", by_name ? by_name->namespace_name : "");
  };
  CHECK(names("b") == std::pair<std::string, std::string>("b", "b"));
  editor.remove_address("x", b.key().to_string());
  CHECK(names("b") == std::pair<std::string, std::string>("a", "a"));
  editor.remove_address("x", a.key().to_string());
  CHECK(names("b") == std::pair<std::string, std::string>("", ""));
}

TEST_CASE("what is visible in its namespace only hides elsewhere by address and by name, and uncovers a block") {
  auto hidden = service("a", "hidden", "10.96.0.1");
  hidden.visibility = Visibility::kNamespace;
  auto block = service("b", "block", "");
  block.cidr_vips = {{"", *Cidr::parse("10.96.0.0/16")}};
  auto snapshot = mesh({.services = {hidden, block}});
  const std::string own = "a", other = "x";
  CHECK(snapshot->service_by_vip("", ip("10.96.0.1"), &own)->name == "hidden");
  CHECK(snapshot->service_by_vip("", ip("10.96.0.1"), &other)->name == "block");
  CHECK(snapshot->service_by_hostname(hidden.hostname, &own));
  CHECK_FALSE(snapshot->service_by_hostname(hidden.hostname, &other));
  block.visibility = Visibility::kNamespace;
  CHECK_FALSE(mesh({.services = {hidden, block}})->service_by_vip("", ip("10.96.0.1"), &other));
}

TEST_CASE("address blocks are matched by family and network, and go with their service") {
  auto dual = service("a", "dual", "");
  dual.cidr_vips = {{"", *Cidr::parse("10.1.0.0/16")}, {"", *Cidr::parse("fd01::/32")}};
  auto narrow = service("a", "narrow", "");
  narrow.cidr_vips = {{"", *Cidr::parse("fd01:0:1::/48")}};
  auto elsewhere = service("a", "elsewhere", "");
  elsewhere.cidr_vips = {{"n2", *Cidr::parse("10.1.0.0/16")}};
  SnapshotEditor editor;
  for (const auto& each : {dual, narrow, elsewhere}) editor.upsert("x", each);
  auto name = [&](std::string_view address, const std::string& network = "") {
    auto found = editor.commit()->service_by_vip(network, ip(address), nullptr);
    return found ? found->name : "";
  };
  CHECK(name("10.1.2.3") == "dual");
  CHECK(name("fd01::5") == "dual");
  CHECK(name("fd01:0:1::5") == "narrow");
  CHECK(name("fd02::5").empty());
  CHECK(name("10.2.0.1").empty());
  CHECK(name("10.1.2.3", "n2") == "elsewhere");
  CHECK(name("fd01::5", "n2").empty());
  editor.remove_address("x", dual.key().to_string());
  CHECK(name("10.1.2.3").empty());
  CHECK(name("fd01::5").empty());
  CHECK(name("fd01:0:1::5") == "narrow");
}

TEST_CASE(
    "an endpoint leaves when its workload falls ill, waits when its service goes, and is forgotten with the workload") {
  auto web = service("a", "web", "10.96.0.1");
  auto one = pod("a", "one", "10.0.0.1");
  join(one, web);
  SnapshotEditor editor;
  editor.upsert("x", web);
  editor.upsert("x", one);
  auto endpoints = [&] { return editor.commit()->service(web.key())->endpoints.size(); };
  CHECK(endpoints() == 1);
  one.status = HealthStatus::kUnhealthy;
  editor.upsert("x", one);
  CHECK(endpoints() == 0);
  one.status = HealthStatus::kHealthy;
  editor.upsert("x", one);
  CHECK(endpoints() == 1);
  editor.remove_address("x", web.key().to_string());
  CHECK(editor.commit()->staged().at(web.key().to_string()).contains(one.uid));
  editor.upsert("x", web);
  CHECK(endpoints() == 1);
  editor.remove_address("x", web.key().to_string());
  editor.remove_address("x", one.uid);
  CHECK(editor.commit()->staged().empty());
}

TEST_CASE("a workload that moves, changes its account or leaves is found as it is now and in no other way") {
  auto one = pod("a", "one", "10.0.0.1");
  one.node = "n1";
  SnapshotEditor editor;
  editor.upsert("x", one);
  auto by_ip = [&](std::string_view address) { return editor.commit()->workload("", ip(address)) != nullptr; };
  auto local = [&](const std::string& account) {
    return editor.commit()->local_workload("a", "one", account, "n1") != nullptr;
  };
  CHECK(by_ip("10.0.0.1"));
  CHECK(local("one"));
  one.addresses = {ip("10.0.0.2")};
  one.service_account = "renamed";
  editor.upsert("x", one);
  CHECK_FALSE(by_ip("10.0.0.1"));
  CHECK(by_ip("10.0.0.2"));
  CHECK_FALSE(local("one"));
  CHECK(local("renamed"));
  auto taken_over = pod("a", "two", "10.0.0.2", TunnelProtocol::kNone);
  editor.upsert("x", taken_over);
  editor.remove_address("x", one.uid);
  CHECK(editor.commit()->workload("", ip("10.0.0.2"))->name == "two");
  CHECK_FALSE(local("renamed"));
  CHECK_FALSE(editor.commit()->workload(one.uid));
}

TEST_CASE("a service may have its address on another network than its endpoints") {
  auto web = service("a", "web", "");
  web.vips = {{"n1", ip("10.96.0.1")}};
  auto one = pod("a", "one", "10.0.0.1");
  one.network = "n2";
  join(one, web);
  auto snapshot = mesh({.workloads = {one}, .services = {web}});
  auto found = snapshot->service_by_vip("n1", ip("10.96.0.1"), nullptr);
  REQUIRE(found);
  CHECK(found->endpoints.contains(one.uid));
  CHECK_FALSE(snapshot->service_by_vip("n2", ip("10.96.0.1"), nullptr));
}

TEST_CASE("a policy that changes its scope applies as it is now") {
  auto here = pod("a", "here", "10.0.0.1"), there = pod("b", "there", "10.0.0.2");
  Policy policy{.name = "p", .namespace_name = "a"};
  SnapshotEditor editor;
  editor.upsert("x", here);
  editor.upsert("x", there);
  auto applies = [&](PolicyScope scope) {
    policy.scope = scope;
    editor.upsert("x", policy);
    auto snapshot = editor.commit();
    return std::pair(snapshot->policies_for(here).size(), snapshot->policies_for(there).size());
  };
  CHECK(applies(PolicyScope::kNamespace) == std::pair<std::size_t, std::size_t>(1, 0));
  CHECK(applies(PolicyScope::kGlobal) == std::pair<std::size_t, std::size_t>(1, 1));
  CHECK(applies(PolicyScope::kWorkloadSelector) == std::pair<std::size_t, std::size_t>(0, 0));
  CHECK(applies(PolicyScope::kNamespace) == std::pair<std::size_t, std::size_t>(1, 0));
  editor.remove_policy("x", policy.key());
  CHECK(editor.commit()->policies_for(here).empty());
}

}  // namespace
}  // namespace weft::model
