// How the nodes of a mesh are: what their proxies and agents say, put together and judged.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tools/weftctl/node.h"

namespace weft::ctl {

// The node agent's admin port, on the node's loopback.
inline constexpr std::uint16_t kAgentPort = 15015;

// What one node answered; none when it could not be asked, and why is among `unanswered`.
struct NodePages {
  NodeAddress proxy, agent;
  std::optional<nlohmann::ordered_json> proxy_page, agent_page;
  std::vector<std::string> unanswered;
};

struct PodRow {
  std::string uid, name;
  std::string state;  // "enrolled", "pending", "leaving", "outside"; of the proxy alone: "served", "pending"
  std::string why;    // it is not in the mesh, or what stands in the way
  bool unenforced = false;
  std::string mark_users;  // its processes that send past the proxy; empty when none is known
};

struct CertificateRow {
  std::string identity, state;
  std::optional<std::int64_t> remaining_s;  // negative: over
  bool worrying = false;
};

// One node as it is told. Texts come from the node: printable() makes them fit for a terminal.
struct NodeStatus {
  NodePages pages;
  std::vector<PodRow> pods;  // by name
  std::vector<CertificateRow> certificates;
  std::vector<std::string> problems;  // what somebody should see to
};

// Asks both pages, one after the other.
Task<NodePages> ask_status(Loop& loop, io::Network& network, io::Resolver& resolver, NodeAddress proxy, NodeAddress agent);
// Pure. Pages that hold something else than expected are no error: what is missing is not told.
NodeStatus judge_status(NodePages pages);

// Exit statuses of `weftctl status`: 0 all is well, 1 something is to be seen to, 2 a node could not be asked.
int exit_status_of(const std::vector<NodeStatus>& nodes);

}  // namespace weft::ctl
