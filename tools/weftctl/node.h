// A node's own pages, asked over its admin port.
#pragma once

#include <cstdint>
#include <string>

#include "lib/admin/client.h"
#include "lib/io/network.h"
#include "lib/io/resolver.h"

namespace weft::ctl {

// ztunnel's admin port, on the node's loopback.
inline constexpr std::uint16_t kAdminPort = 15000;

struct NodeAddress {
  std::string host;  // an address or a name
  std::uint16_t port = 0;

  std::string to_string() const;
};

// "HOST", "HOST:PORT", "[V6]:PORT", "V6". kInvalidArgument with a sentence.
Result<NodeAddress> parse_node_address(const std::string& text, std::uint16_t default_port);

// References outlive it. Thread: the loop's.
class Node {
 public:
  Node(Loop& loop, io::Network& network, io::Resolver& resolver, NodeAddress address)
      : loop_(loop), network_(network), resolver_(resolver), address_(std::move(address)) {}

  // The body of a page that was answered with 200. An error says what was asked of whom, what came of it, and what to do.
  Task<Result<std::string>> ask(admin::ClientRequest request);
  const NodeAddress& address() const { return address_; }

  // The dump of a mesh of 10,000 pods has some 30 MB.
  static constexpr std::size_t kPageMax = 256 * 1024 * 1024;
  // For the whole of one page; a dump of that size takes a node a second or two.
  static constexpr Duration kLimit = std::chrono::seconds(30);

 private:
  Task<Result<io::StreamPtr>> connect(StopToken stop);

  Loop& loop_;
  io::Network& network_;
  io::Resolver& resolver_;
  const NodeAddress address_;
};

// Answers to question lines, each with its line end: of the first `questions` at least one, in order.
Task<Result<std::string>> ask_explain(Node& node, std::string questions);

}  // namespace weft::ctl
