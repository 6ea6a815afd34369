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
  std::uint64_t judged_by = 0;           // PodProxy::judgement() that it was last judged by
  StopSource stop;                       // fires when the connection must end
  bool denied_by_policy_change = false;  // why `stop` fired, for the access log
};

struct OutboundConnection : ListLink {
  SocketAddress source;
  SocketAddress original_destination;
  SocketAddress actual_destination;
  ConnectionProtocol protocol = ConnectionProtocol::kTcp;
};

// One line of the dump, copied as it is: a pod may have ten thousands of them, and text is made on another thread.
struct ConnectionRow {
  SocketAddress source;
  std::optional<SocketAddress> original_destination;  // outbound
  std::string destination_service;                    // inbound: hostname, empty when unknown
  SocketAddress actual_destination;
  ConnectionProtocol protocol = ConnectionProtocol::kTcp;

  // Where the caller meant to go, as far as it is known; else "".
  std::string meant() const { return original_destination ? original_destination->to_string() : destination_service; }
};

class Connections {
 public:
  // `judged_by` is the newest there is: the caller judges by it before anything else happens.
  void add(InboundConnection& connection) { inbound_.push_back(connection); }
  void add(OutboundConnection& connection) { outbound_.push_back(connection); }

  // Whether some inbound connection was judged by another one last.
  bool unjudged(std::uint64_t judgement) { return !inbound_.empty() && inbound_.front().judged_by != judgement; }
  // Judges up to `max` of these by calling `allowed`, and stops those it returns false for. Returns how many were stopped.
  // Between two calls connections may come and go, and the judgement may move on.
  std::size_t recheck(std::uint64_t judgement, std::size_t max,
                      const std::function<bool(const InboundConnection&)>& allowed);

  std::vector<ConnectionRow> inbound_rows();
  std::vector<ConnectionRow> outbound_rows();

 private:
  IntrusiveList<InboundConnection> inbound_;  // those judged by the newest judgement are last
  IntrusiveList<OutboundConnection> outbound_;
};

}  // namespace weft::ztunnel
