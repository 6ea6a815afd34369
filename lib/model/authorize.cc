#include "lib/model/authorize.h"

#include <algorithm>

namespace weft::model {
namespace {

// (positive empty or any hit) and (negative empty or no hit)
template <typename T, typename F>
bool holds(const std::vector<T>& positive, const std::vector<T>& negative, F hit) {
  return (positive.empty() || std::any_of(positive.begin(), positive.end(), hit)) &&
         std::none_of(negative.begin(), negative.end(), hit);
}

bool holds(const Clause& clause, const ConnectionFacts& connection) {
  return clause.empty() ||
         std::any_of(clause.begin(), clause.end(), [&](const Match& match) { return matches(match, connection); });
}

}  // namespace

bool StringMatch::matches(std::string_view text) const {
  switch (kind) {
    case Kind::kExact: return text == value;
    case Kind::kPrefix: return text.starts_with(value);
    case Kind::kSuffix: return text.ends_with(value);
    case Kind::kPresence: return !text.empty();
  }
  return false;
}

bool Match::empty() const { return *this == Match{}; }

bool matches(const Match& match, const ConnectionFacts& connection) {
  if (match.empty()) return false;
  const auto& peer = connection.peer;
  const std::string namespace_name = peer ? peer->namespace_name : "";
  const std::string principal = peer ? peer->principal() : "";
  return holds(match.namespaces, match.not_namespaces, [&](const StringMatch& m) { return m.matches(namespace_name); }) &&
         holds(match.principals, match.not_principals, [&](const StringMatch& m) { return peer && m.matches(principal); }) &&
         holds(match.service_accounts, match.not_service_accounts,
               [&](const ServiceAccountMatch& m) {
                 return peer && m.namespace_name == peer->namespace_name && m.service_account == peer->service_account;
               }) &&
         holds(match.source_ips, match.not_source_ips,
               [&](const Cidr& block) { return block.contains(connection.source_ip); }) &&
         holds(match.destination_ips, match.not_destination_ips,
               [&](const Cidr& block) { return block.contains(connection.destination.ip()); }) &&
         holds(match.destination_ports, match.not_destination_ports,
               [&](std::uint16_t port) { return port == connection.destination.port(); });
}

std::optional<std::size_t> matching_rule(const Policy& policy, const ConnectionFacts& connection) {
  for (std::size_t i = 0; i < policy.rules.size(); ++i) {
    const Rule& rule = policy.rules[i];
    if (std::all_of(rule.begin(), rule.end(), [&](const Clause& clause) { return holds(clause, connection); })) return i;
  }
  return std::nullopt;
}

std::string Verdict::reason() const {
  if (allowed) return "";
  if (policy) return "explicitly denied by: " + policy->key();
  std::string none = "allow policies exist, but none allowed";
  if (!unknown_policies.empty()) none += "; not known: " + unknown_policies.front();
  if (unknown_policies.size() > 1) none += " and " + std::to_string(unknown_policies.size() - 1) + " more";
  return none;
}

Verdict authorize(const Snapshot& snapshot, const Workload& destination, const ConnectionFacts& connection) {
  Verdict verdict;
  const auto policies = snapshot.policies_for(destination, &verdict.unknown_policies);
  bool dry_run_allow_exists = false;
  bool dry_run_allow_matched = false;
  PolicyPtr allowed_by;
  std::optional<std::size_t> allowed_rule;
  for (const auto& policy : policies) {
    const auto rule = matching_rule(*policy, connection);
    if (policy->dry_run) {
      if (rule) verdict.dry_run_matches.push_back(policy);
      if (policy->action == PolicyAction::kAllow) {
        dry_run_allow_exists = true;
        dry_run_allow_matched |= rule.has_value();
      }
    } else if (policy->action == PolicyAction::kDeny) {
      if (rule && verdict.allowed) {
        verdict.allowed = false;
        verdict.policy = policy;
        verdict.rule = rule;
      }
    } else if (rule && !allowed_by) {
      allowed_by = policy;
      allowed_rule = rule;
    } else if (!rule) {
      verdict.candidates.push_back(policy);
    }
  }
  if (!verdict.allowed) {  // a DENY decided
    verdict.candidates.clear();
    return verdict;
  }
  if (allowed_by) {
    verdict.policy = allowed_by;
    verdict.rule = allowed_rule;
    verdict.candidates.clear();
    return verdict;
  }
  // A policy the workload names but nobody described could be an ALLOW or a DENY: what cannot be read is refused.
  verdict.allowed = verdict.candidates.empty() && verdict.unknown_policies.empty();
  verdict.dry_run_would_refuse = verdict.allowed && dry_run_allow_exists && !dry_run_allow_matched;
  return verdict;
}

}  // namespace weft::model
