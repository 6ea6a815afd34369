// Decisions published by others, where the folder with them is at hand: every case must come out the same here.
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "lib/manifest/documents.h"
#include "lib/translate/test_mesh.h"

using namespace weft;
using namespace weft::translate;
using namespace weft::translate::testing;
using manifest::Value;

namespace {

std::filesystem::path examples(const char* folder) {
  const char* shared = std::getenv("WEFT_SHARED");
  return std::filesystem::path(shared ? shared : "../shared") / "fixtures" / folder;
}

std::string read(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  REQUIRE(!text.str().empty());
  return text.str();
}

Value read_json(const std::filesystem::path& path) {
  auto documents = manifest::read_json(read(path), {});
  REQUIRE(!documents.error);
  REQUIRE(documents.values.size() == 1);
  return std::move(documents.values[0]);
}

std::string text_of(const Value& value, const char* key) {
  const auto* found = value.find(key);
  return found && found->is_scalar() ? found->text : "";
}

// A part of a document as text again.
void write_json(const Value& value, std::string& out) {
  const char* separator = "";
  if (value.is_scalar()) out += "\"" + value.text + "\"";
  if (value.is_null()) out += "null";
  if (value.is_list()) {
    out += "[";
    for (const auto& item : value.items) {
      out += std::exchange(separator, ",");
      write_json(item, out);
    }
    out += "]";
  }
  if (value.is_map()) {
    out += "{";
    for (const auto& member : value.members) {
      out += std::exchange(separator, ",");
      out += "\"" + member.key + "\":";
      write_json(member.value, out);
    }
    out += "}";
  }
}

// The L4 part of a case; nullopt when its principal is none that a certificate can carry.
std::optional<model::ConnectionFacts> facts_of(const Value& value) {
  model::ConnectionFacts facts;
  if (const auto principal = text_of(value, "principal"); !principal.empty()) {
    auto identity = model::Identity::parse("spiffe://" + principal);
    if (!identity) return std::nullopt;
    facts.peer = *identity;
  }
  facts.source_ip = IpAddress::parse(text_of(value, "source_ip")).value();
  facts.destination = {IpAddress::parse(text_of(value, "destination_ip")).value(),
                       static_cast<std::uint16_t>(std::stoi(text_of(value, "destination_port")))};
  return facts;
}

// The verdict when all the policies cover the destination.
bool allowed_by(const std::vector<model::Policy>& policies, const model::ConnectionFacts& facts) {
  model::Workload workload;
  workload.uid = "destination";
  for (const auto& policy : policies) workload.authorization_policies.push_back(policy.key());
  model::SnapshotEditor editor;
  editor.replace("test", {{workload}, {}, policies});
  return model::authorize(*editor.commit(), workload, facts).allowed;
}

// Compares `policies` with every case; returns how many could be compared.
int compare(const std::vector<model::Policy>& policies, const Value& decisions, const char* connection,
            const char* decision) {
  int compared = 0;
  const auto* cases = decisions.find("cases");
  REQUIRE(cases);
  for (const auto& entry : cases->items) {
    const auto* request = entry.find(connection);
    REQUIRE(request);
    const auto facts = facts_of(*request);
    if (!facts) continue;
    INFO("line " << entry.line);
    CHECK(allowed_by(policies, *facts) == (text_of(entry, decision) == "allow"));
    ++compared;
  }
  return compared;
}

}  // namespace

TEST_CASE("converted peer authentication and policies decide as published") {
  const auto folder = examples("ambient-l4-policies");
  if (!std::filesystem::is_directory(folder)) SKIP("the examples are not here");
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto file = entry.path().filename().string();
    if (!file.ends_with("-in.yaml")) continue;
    INFO(file);
    const auto name = file.substr(0, file.size() - 8);
    const auto mesh = make_mesh(read(entry.path()));
    std::vector<model::Policy> converted;
    for (const auto& policy : mesh.output.policies) {
      if (policy.name != "istio_converted_static_strict") converted.push_back(policy);
    }
    const bool expected = std::filesystem::file_size(folder / (name + ".golden.yaml")) > 2;
    CHECK(converted.size() == (expected ? 1u : 0u));
    if (!std::filesystem::exists(folder / (name + ".decisions.json")) || converted.empty()) continue;
    const auto decisions = read_json(folder / (name + ".decisions.json"));
    CHECK((converted[0].action == model::PolicyAction::kAllow) == (text_of(decisions, "converted_action") == "ALLOW"));
    compared += compare(converted, decisions, "connection", "decision_if_only_policy");
  }
  CHECK(compared > 40);
}

TEST_CASE("policies with HTTP attributes are reported as published") {
  const auto folder = examples("ambient-l4-policies");
  if (!std::filesystem::is_directory(folder)) SKIP("the examples are not here");
  const auto all = read_json(folder / "status-messages.json");
  int compared = 0;
  for (const auto& entry : all.find("cases")->items) {
    INFO(text_of(entry, "name"));
    std::string text;
    write_json(*entry.find("policy"), text);
    const auto parsed = manifest::parse(text, "policy.json");
    REQUIRE(parsed.objects.size() == 1);
    const auto output = translate::translate(parsed.objects);
    const auto* expected = entry.find("expect_ztunnel_condition");
    const Condition* found = nullptr;
    for (const auto& condition : output.statuses[0].conditions) {
      if (condition.type == kZtunnelAccepted) found = &condition;
    }
    if (!expected || expected->is_null()) {
      CHECK((!found || found->reason == "Accepted"));
    } else {
      REQUIRE(found);
      CHECK(found->reason == text_of(*expected, "reason"));
      const auto message = text_of(*expected, "message");
      if (const auto list = message.find("(found: "); list != message.npos) {
        const auto names = message.substr(list, message.find(')', list) - list);
        CHECK(found->message.find(names) != std::string::npos);
      }
    }
    if (const auto enforced = text_of(entry, "rules_still_enforced_at_l4"); !enforced.empty()) {
      REQUIRE(output.policies.size() == 1);
      CHECK((output.policy_rules_without_effect < output.policies[0].rules.size()) == (enforced == "true"));
    }
    ++compared;
  }
  CHECK(compared >= 5);
}

TEST_CASE("everyday policies decide at the node as published") {
  const auto folder = examples("authz-realistic");
  if (!std::filesystem::is_directory(folder)) SKIP("the examples are not here");
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto file = entry.path().string();
    if (!file.ends_with(".policy.yaml")) continue;
    INFO(file);
    const auto mesh = make_mesh(read(file));
    compared += compare(mesh.output.policies, read_json(file.substr(0, file.size() - 12) + ".decisions.json"), "request",
                        "decision_l4");
  }
  CHECK(compared > 500);
}

TEST_CASE("policies whose outcome HTTP cannot change decide as published for gateways") {
  const auto folder = examples("authz-policy-decisions");
  if (!std::filesystem::is_directory(folder)) SKIP("the examples are not here");
  int compared = 0;
  for (const char* name : {"allow-nil-rule", "deny-empty-rule", "dry-run-allow", "tcp-allow-only-http"}) {
    INFO(name);
    const auto mesh = make_mesh(read(folder / name / "policy.yaml"));
    compared += compare(mesh.output.policies, read_json(folder / name / "decisions.json"), "request", "decision");
  }
  CHECK(compared > 100);
}
