// What one connection did: counted when it is known, while it runs and when it ends, and told in one log line; a long one
// also meanwhile (open_connections.h).
//
// One record a connection, finished exactly once; a record that is dropped unfinished says that the connection was drained.
// Log format, field order and texts are ztunnel's. Thread: the pod's worker.
#pragma once

#include <string>
#include <unordered_map>

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

class RefusalLog;

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
  // Policy refused it. Counted, and told if `lines` has one for its caller.
  void deny(const std::string& why, RefusalLog& lines);

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

// Of each address the first lines within so long are always written, so that nobody's first refusals are lost to another's
// flood; for as many addresses.
inline constexpr std::uint32_t kFirstLines = 5;
inline constexpr Duration kFirstLinesWithin = std::chrono::minutes(1);
inline constexpr std::size_t kFirstLinesSources = 256;

// Lines about connections that were refused or denied at one pod. Who is refused can ask for as many as he likes, and the
// log's queue is that of all pods: besides the first of each address there are 200 lines at once and 20 a second, the rest
// is only counted. Thread: the pod's worker.
class RefusalLog {
 public:
  RefusalLog(Loop& loop, LimitCounters& counters) : loop_(loop), counters_(counters) {}
  // A connection refused before its ends were known; no traffic metrics.
  void write(Reporter reporter, const SocketAddress& source, const SocketAddress& destination, const std::string& error);
  // Whether a line about `source` may be written now; when not, that is counted.
  bool may_tell(const IpAddress& source);

 private:
  struct Told {
    MonotonicTime since{};
    std::uint32_t lines = 0;
  };
  Loop& loop_;
  LimitCounters& counters_;
  TokenBucket lines_{200, 20};
  std::unordered_map<IpAddress, Told> first_;
};

}  // namespace weft::ztunnel
