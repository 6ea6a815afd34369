// What is the same whoever asks; answers about manifests are tested in tools/weftctl.
#include "lib/explain/explain.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "lib/model/test_objects.h"

using namespace weft;
using namespace weft::explain;
using nlohmann::json;

namespace {

Facts facts_of(model::MeshObjects objects) {
  return {.snapshot = model::mesh(std::move(objects)),
          .cluster_id = "c1",
          .cluster_domain = "cluster.local",
          .hbone_port = 15008,
          .is_own_port = [](std::uint16_t port) { return port == 15008; }};
}

model::Policy deny_plain(const std::string& name) {
  model::Policy policy{
      .name = name, .namespace_name = "shop", .scope = model::PolicyScope::kNamespace, .action = model::PolicyAction::kDeny};
  model::Match nobody;
  nobody.not_principals = {{model::StringMatch::Kind::kPresence, ""}};
  policy.rules = {{{nobody}}};
  return policy;
}

json ask(const Facts& facts, const std::string& line) { return json::parse(explain_line(facts, line)); }

constexpr const char* kPlainToDb = R"({"destination": {"pod": "shop/db", "port": 80}})";

}  // namespace

TEST_CASE("policies of no manifest are named as they are, and their rules by their own number") {
  model::MeshObjects objects;
  objects.workloads = {model::pod("shop", "db", "10.0.0.1")};
  objects.policies = {deny_plain("mine")};
  const auto answer = ask(facts_of(objects), kPlainToDb);
  CHECK(answer["decision"] == "deny");
  CHECK(answer["kind"] == "AuthorizationPolicy");
  CHECK(answer["policy"] == "shop/mine");
  CHECK(answer["rule"] == 0);
}

TEST_CASE("a policy that istiod made of a PeerAuthentication is told as one") {
  for (const auto* name : {"istio_converted_static_strict", "converted_peer_authentication_default"}) {
    model::MeshObjects objects;
    objects.workloads = {model::pod("shop", "db", "10.0.0.1")};
    objects.policies = {deny_plain(name)};
    const auto answer = ask(facts_of(objects), kPlainToDb);
    CHECK(answer["kind"] == "PeerAuthentication");
    CHECK(answer["policy"] == "shop/" + std::string(name));
    CHECK(answer["rule"] == nullptr);
  }
}

TEST_CASE("a workload whose uid is not that of a Pod of this cluster is found by its name") {
  model::MeshObjects objects;
  objects.workloads = {model::pod("shop", "db", "10.0.0.1")};  // of another cluster than the facts'
  const auto facts = facts_of(std::move(objects));
  CHECK(ask(facts, kPlainToDb)["decision"] == "allow");
  CHECK(ask(facts, R"({"destination": {"pod": "shop/d", "port": 80}})")["error"] == "unknown pod: shop/d");
}

TEST_CASE("a pod that calls itself by its address meets no policy, and by a service it does") {
  model::MeshObjects objects;
  auto web = model::service("shop", "db", "10.9.0.1");
  auto db = model::pod("shop", "db", "10.0.0.1");
  objects.workloads = {model::join(db, web), model::pod("shop", "web", "10.0.0.2")};
  objects.services = {web};
  model::Policy nobody{.name = "nobody", .namespace_name = "shop"};
  objects.policies = {nobody};
  const auto facts = facts_of(std::move(objects));
  const auto from_db = [&](const std::string& destination) {
    return ask(facts, R"({"source": {"ip": "10.0.0.1", "principal": "cluster.local/ns/shop/sa/db"}, "destination": )" +
                          destination + "}");
  };
  auto answer = from_db(R"({"ip": "10.0.0.1", "port": 80})");
  CHECK(answer["decision"] == "allow");
  CHECK(answer["layer"] == "none");
  CHECK(answer["reason"] == "pod shop/db calls itself; nothing stands in between");
  CHECK(from_db(R"({"ip": "10.0.0.1", "port": 15008})")["decision"] == "deny");
  CHECK(from_db(R"({"service": "shop/db"})")["decision"] == "deny");
  CHECK(from_db(R"({"pod": "shop/web", "port": 80})")["decision"] == "deny");
}

TEST_CASE("a service takes a step for each pod, anything else the first step only") {
  model::MeshObjects objects;
  auto web = model::service("shop", "web", "10.9.0.1");
  for (int i = 0; i < 5; ++i) {
    auto pod = model::pod("shop", "web-" + std::to_string(i), "10.0.0." + std::to_string(i + 1));
    objects.workloads.push_back(model::join(pod, web));
  }
  objects.services = {web};
  const auto facts = facts_of(std::move(objects));
  Explanation service(facts, R"({"destination": {"service": "shop/web"}})");
  int steps = 0;
  for (; !service.done(); ++steps) service.step();
  CHECK(steps == 5);
  CHECK(json::parse(service.answer())["decision"] == "allow");
  for (const auto* line :
       {"{", R"({"destination": {"pod": "shop/web-1", "port": 80}})", R"({"destination": {"ip": "10.0.0.2"}})"})
    CHECK(Explanation(facts, line).done());
}
