// L4 authorization policies as the node enforces them. Plain values; istio.security.Authorization.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/ip.h"

namespace weft::model {

struct StringMatch {
  enum class Kind { kExact, kPrefix, kSuffix, kPresence };
  Kind kind = Kind::kExact;
  std::string value;  // unused for presence

  // kPresence: not empty. A prefix or suffix of the empty string is false unless the pattern is empty. Case-sensitive.
  bool matches(std::string_view text) const;
  friend bool operator==(const StringMatch&, const StringMatch&) = default;
};

struct ServiceAccountMatch {
  std::string namespace_name;
  std::string service_account;
  friend bool operator==(const ServiceAccountMatch&, const ServiceAccountMatch&) = default;
};

// Every kind with conditions must hold; per kind: (positive list empty or any hit) and (negative list empty or no hit).
// A match without any condition never matches.
struct Match {
  std::vector<StringMatch> namespaces, not_namespaces;
  std::vector<StringMatch> principals, not_principals;
  std::vector<ServiceAccountMatch> service_accounts, not_service_accounts;
  std::vector<Cidr> source_ips, not_source_ips;
  std::vector<Cidr> destination_ips, not_destination_ips;
  std::vector<std::uint16_t> destination_ports, not_destination_ports;

  bool empty() const;
  friend bool operator==(const Match&, const Match&) = default;
};

using Clause = std::vector<Match>;  // any; empty: holds
using Rule = std::vector<Clause>;   // all; empty: matches everything

enum class PolicyScope { kGlobal, kNamespace, kWorkloadSelector };
enum class PolicyAction { kAllow, kDeny };

struct Policy {
  std::string name;
  std::string namespace_name;
  PolicyScope scope = PolicyScope::kNamespace;
  PolicyAction action = PolicyAction::kAllow;
  std::vector<Rule> rules;  // any; empty: never matches
  bool dry_run = false;     // evaluated and logged, never enforced

  std::string key() const { return namespace_name + "/" + name; }
  friend bool operator==(const Policy&, const Policy&) = default;
};

using PolicyPtr = std::shared_ptr<const Policy>;

}  // namespace weft::model
