#include "ztunnel/connections.h"

namespace weft::ztunnel {

std::size_t Connections::recheck(const std::function<bool(const InboundConnection&)>& allowed) {
  // Stopping a connection may run its task up to its end, which unlinks it (and nothing else) from this list: collect first.
  std::vector<StopSource> denied;
  inbound_.for_each([&](InboundConnection& connection) {
    if (connection.stop.stop_requested() || allowed(connection)) return;
    connection.denied_by_policy_change = true;
    denied.push_back(connection.stop);
  });
  for (auto& stop : denied) stop.request_stop();
  return denied.size();
}

std::vector<ConnectionRow> Connections::inbound_rows() {
  std::vector<ConnectionRow> rows;
  inbound_.for_each([&](InboundConnection& c) {
    rows.push_back({c.source.to_string(), c.destination_service, c.destination.to_string(),
                    c.peer ? ConnectionProtocol::kHbone : ConnectionProtocol::kTcp});
  });
  return rows;
}

std::vector<ConnectionRow> Connections::outbound_rows() {
  std::vector<ConnectionRow> rows;
  outbound_.for_each([&](OutboundConnection& c) {
    rows.push_back({c.source.to_string(), c.original_destination.to_string(), c.actual_destination.to_string(), c.protocol});
  });
  return rows;
}

}  // namespace weft::ztunnel
