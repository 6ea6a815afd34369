// What the node proxy of a pod says to one connection.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/explain/facts.h"
#include "lib/explain/request.h"

namespace weft::explain::detail {

struct Answer {
  bool allowed = true;
  std::string layer = "none";  // who decided: "l4", "l7", "none"
  std::string kind, policy;    // of the object that decided; empty when none did
  std::optional<std::size_t> rule;
  std::vector<std::string> candidates;
  std::string reason;
};

struct Caller {
  model::Workload workload;  // of an unknown one only network and namespace
  IpAddress ip;
  std::optional<model::Identity> identity;  // none: plain text
};

// A pod and a port on it that the connection may end at.
struct Target {
  model::WorkloadPtr workload;  // null: an address outside the mesh
  SocketAddress address;
};

// "ns/name", for people.
std::string name_of(const model::Workload& workload);
// A refusal by no policy.
Answer refused(std::string reason);
Answer judge(const Facts& facts, const Caller& caller, const Target& target);

}  // namespace weft::explain::detail
