// What one connection did: counted when it is known, while it runs and when it ends, and told in one log line; a long one
// also meanwhile (open_connections.h).
//
// One record a connection, finished exactly once; a record that is dropped unfinished says that the connection was drained.
// Log format, field order and texts are ztunnel's. Thread: the pod's worker.
#pragma once

#include <string>

#include "lib/base/clock.h"
#include "lib/base/ip.h"
#include "lib/base/log.h"
#include "lib/base/token_bucket.h"
#include "lib/io/pump.h"
#include "ztunnel/limits/reasons.h"
#include "ztunnel/open_connections.h"
#include "ztunnel/traffic.h"

namespace weft::ztunnel {

// A connection that failed, with the word for it.
struct Failure {
  ResponseFlag flag = ResponseFlag::kConnect;
  std::string message;
};

struct AccessAddresses {
  SocketAddress source;
  SocketAddress destination;  // outbound: the next hop; inbound: the tunnel port, or the original destination of plain text
  std::string hbone;          // authority of the tunnel; empty for plain text
};

class AccessRecord final : public OpenConnection {
 public:
  // Counts the connection as opened. `begun`: when it was accepted, which its duration counts from. Both references outlive
  // the record.
  AccessRecord(TrafficMetrics& metrics, OpenConnections& open, Parties parties, AccessAddresses addresses,
               MonotonicTime begun);
  AccessRecord(const AccessRecord&) = delete;
  AccessRecord& operator=(const AccessRecord&) = delete;
  ~AccessRecord();

  // For pump(): a is the connection that was accepted, b the one that was made.
  io::PumpCounters& counters() { return counters_; }

  void finish(const io::PumpResult& copied);
  void finish(const Failure& failure);

  void on_still_open() override;

 private:
  void count_end(ResponseFlag flag);
  void tell_end(const std::string& error) const;
  void write_log(log::Level level, std::string_view message, const std::string& error) const;

  TrafficMetrics& metrics_;
  const Clock& clock_;
  const Parties parties_;
  const AccessAddresses addresses_;
  const TrafficSeries series_;
  const MonotonicTime begun_;
  io::PumpCounters counters_;
  bool finished_ = false;
};

// Lines about connections refused before their ends were known; no traffic metrics. Who is refused can ask for as many as he
// likes, so there are 200 at once and 20 a second for each worker; the rest is only counted. Thread: the worker's.
class RefusalLog {
 public:
  RefusalLog(Loop& loop, LimitCounters& counters) : loop_(loop), counters_(counters) {}
  void write(Reporter reporter, const SocketAddress& source, const SocketAddress& destination, const std::string& error);

 private:
  Loop& loop_;
  LimitCounters& counters_;
  TokenBucket lines_{200, 20};
};

}  // namespace weft::ztunnel
