// The verdict of the L4 authorization policies over one connection. Pure; ztunnel enforces it, weftctl explains with it.
//
// Order: a matching DENY refuses; without any enforced ALLOW policy the connection is allowed; else one ALLOW must match.
// Dry-run policies are evaluated and reported, never enforced.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/base/ip.h"
#include "lib/model/identity.h"
#include "lib/model/snapshot.h"

namespace weft::model {

// What policies can see of a connection at L4.
struct ConnectionFacts {
  IpAddress source_ip;           // TLS peer, or the redirected client
  std::optional<Identity> peer;  // none: plain text
  SocketAddress destination;     // final address, application-tunnel port included
};

struct Verdict {
  bool allowed = true;
  PolicyPtr policy;                   // the one that decided, null when none did
  std::optional<std::size_t> rule;    // index of its rule that matched
  std::vector<PolicyPtr> candidates;  // enforced ALLOW policies that did not match (when refused for lack of one)
  std::vector<PolicyPtr> dry_run_matches;
  bool dry_run_would_refuse = false;  // dry-run ALLOW policies exist, none matched, and no enforced ALLOW exists
  std::vector<std::string>
      unknown_policies;  // named by the workload, not known: treated as ALLOW policies that match nothing

  // "explicitly denied by: ns/name", "allow policies exist, but none allowed"[; not known: ns/name[ and 2 more]]; empty when
  // allowed.
  std::string reason() const;
};

Verdict authorize(const Snapshot& snapshot, const Workload& destination, const ConnectionFacts& connection);

// The pieces, for explanation and tests.
bool matches(const Match& match, const ConnectionFacts& connection);
// Index of the first rule that matches.
std::optional<std::size_t> matching_rule(const Policy& policy, const ConnectionFacts& connection);

}  // namespace weft::model
