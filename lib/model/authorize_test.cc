// Verdicts of policies, as tables.
#include "lib/model/authorize.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/model/test_objects.h"

namespace weft::model {
namespace {

ConnectionFacts from(std::optional<Identity> peer) { return {ip("10.0.0.1"), std::move(peer), at("10.0.0.2:8080")}; }
const Identity kPeer{"cluster.local", "front", "web"};

TEST_CASE("text matches are exact, by prefix, by suffix or by presence") {
  using Kind = StringMatch::Kind;
  struct Row {
    Kind kind;
    std::string pattern, text;
    bool hit;
  };
  for (const auto& row :
       {Row{Kind::kExact, "a", "a", true}, Row{Kind::kExact, "a", "A", false}, Row{Kind::kExact, "", "", true},
        Row{Kind::kPrefix, "ab", "abc", true}, Row{Kind::kPrefix, "ab", "a", false}, Row{Kind::kPrefix, "a", "", false},
        Row{Kind::kPrefix, "", "", true}, Row{Kind::kSuffix, "bc", "abc", true}, Row{Kind::kSuffix, "bc", "c", false},
        Row{Kind::kPresence, "", "x", true}, Row{Kind::kPresence, "", "", false}})
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
  CHECK(verdict.reason() == "allow policies exist, but none allowed; not known: b/missing");
  CHECK(judge({}, {"b/missing", "b/x", "b/y"}).reason().ends_with("; not known: b/missing and 2 more"));
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

}  // namespace
}  // namespace weft::model
