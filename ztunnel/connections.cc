#include "ztunnel/connections.h"

namespace weft::ztunnel {

std::size_t Connections::recheck(std::uint64_t judgement, std::size_t max,
                                 const std::function<bool(const InboundConnection&)>& allowed) {
  // Stopping a connection may run its task up to its end, which unlinks it (and nothing else) from this list: collect first.
  std::vector<StopSource> denied;
  for (std::size_t i = 0; i < max && unjudged(judgement); ++i) {
    InboundConnection& connection = inbound_.front();
    connection.judged_by = judgement;
    inbound_.push_back(connection);
    if (connection.stop.stop_requested() || allowed(connection)) continue;
    connection.denied_by_policy_change = true;
    denied.push_back(connection.stop);
  }
  for (auto& stop : denied) stop.request_stop();
  return denied.size();
}

std::vector<ConnectionRow> Connections::inbound_rows() {
  std::vector<ConnectionRow> rows;
  inbound_.for_each([&](InboundConnection& c) {
    rows.push_back({c.source, std::nullopt, c.destination_service, c.destination,
                    c.peer ? ConnectionProtocol::kHbone : ConnectionProtocol::kTcp});
  });
  return rows;
}

std::vector<ConnectionRow> Connections::outbound_rows() {
  std::vector<ConnectionRow> rows;
  outbound_.for_each([&](OutboundConnection& c) {
    rows.push_back({c.source, c.original_destination, {}, c.actual_destination, c.protocol});
  });
  return rows;
}

}  // namespace weft::ztunnel
