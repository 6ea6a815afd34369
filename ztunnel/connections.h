// The live connections of one pod: shown in the dump, re-checked when policies change, closed with a reason.
//
// Thread: the pod's home worker. A registration removes itself when it goes out of scope. Register first, then authorize:
// a policy change in between then finds the connection.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/async/stop.h"
#include "lib/base/intrusive_list.h"
#include "lib/base/ip.h"
#include "lib/model/identity.h"
#include "lib/model/workload.h"

namespace weft::ztunnel {

enum class ConnectionProtocol { kTcp, kHbone };

struct InboundConnection : ListLink {
  SocketAddress source;
  SocketAddress destination;             // final address, as policies see it
  std::optional<model::Identity> peer;   // none for plain text
  std::string destination_service;       // hostname, empty when unknown
  StopSource stop;                       // fires when the connection must end
  bool denied_by_policy_change = false;  // why `stop` fired, for the access log
};

struct OutboundConnection : ListLink {
  SocketAddress source;
  SocketAddress original_destination;
  SocketAddress actual_destination;
  ConnectionProtocol protocol = ConnectionProtocol::kTcp;
};

// One line of the dump.
struct ConnectionRow {
  std::string source, original_destination, actual_destination;
  ConnectionProtocol protocol;
};

class Connections {
 public:
  void add(InboundConnection& connection) { inbound_.push_back(connection); }
  void add(OutboundConnection& connection) { outbound_.push_back(connection); }

  // Calls `allowed` for each inbound connection and stops those it returns false for. Returns how many were stopped.
  std::size_t recheck(const std::function<bool(const InboundConnection&)>& allowed);

  std::vector<ConnectionRow> inbound_rows();
  std::vector<ConnectionRow> outbound_rows();

 private:
  IntrusiveList<InboundConnection> inbound_;
  IntrusiveList<OutboundConnection> outbound_;
};

}  // namespace weft::ztunnel
