#include "ztunnel/access_record.h"

#include <array>

#include "lib/base/log.h"

namespace weft::ztunnel {
namespace {

constexpr std::string_view kTarget = "access";

// The fields of one line, in ztunnel's order; empty texts are left out.
class Line {
 public:
  void text(std::string_view key, std::string value) { put(key, std::move(value), log::FieldKind::kText); }
  void display(std::string_view key, std::string value) { put(key, std::move(value), log::FieldKind::kDisplay); }
  void number(std::string_view key, std::uint64_t value) { put(key, fmt::to_string(value), log::FieldKind::kNumber); }
  void write(log::Level level, std::string_view message) const {
    log::write(level, kTarget, message, fields_.data(), count_);
  }

 private:
  void put(std::string_view key, std::string value, log::FieldKind kind) {
    if (value.empty() || count_ == fields_.size()) return;
    fields_[count_++] = {key, std::move(value), kind};
  }
  std::array<log::Field, 20> fields_;
  std::size_t count_ = 0;
};

void describe_ends(Line& line, const Parties& p, const AccessAddresses& addresses) {
  line.display("src.addr", addresses.source.to_string());
  line.text("src.workload", p.source ? p.source->name : p.source_baggage.canonical_name);
  line.text("src.namespace", p.source ? p.source->namespace_name : p.source_baggage.namespace_name);
  if (p.mutual_tls && p.source_identity) line.text("src.identity", p.source_identity->to_string());
  line.text("src.cluster", p.source ? p.source->cluster_id : p.source_baggage.cluster);
  line.display("dst.addr", addresses.destination.to_string());
  line.display("dst.hbone_addr", addresses.hbone);
  if (p.service) line.text("dst.service", p.service->hostname);
  if (p.destination) {
    line.text("dst.workload", p.destination->name);
    line.text("dst.namespace", p.destination->namespace_name);
    if (p.mutual_tls) line.text("dst.identity", p.destination->identity().to_string());
    line.text("dst.cluster", p.destination->cluster_id);
  }
  line.text("direction", p.reporter == Reporter::kSource ? "outbound" : "inbound");
}

}  // namespace

AccessRecord::AccessRecord(TrafficMetrics& metrics, OpenConnections& open, Parties parties, AccessAddresses addresses,
                           MonotonicTime begun)
    : metrics_(metrics),
      clock_(open.clock()),
      parties_(std::move(parties)),
      addresses_(std::move(addresses)),
      series_(metrics.series(parties_)),
      begun_(begun) {
  open.add(*this);
  series_.opened->add();
  counters_.on_a_to_b = [this](std::uint64_t size) { series_.received_bytes->add(size); };
  counters_.on_b_to_a = [this](std::uint64_t size) { series_.sent_bytes->add(size); };
  if (log::enabled(log::Level::kDebug, kTarget)) {
    Line line;
    describe_ends(line, parties_, addresses_);
    line.write(log::Level::kDebug, "connection opened");
  }
}

AccessRecord::~AccessRecord() {
  if (finished_) return;
  count_end(ResponseFlag::kNone);
  tell_end("connection closed due to connection drain");
}

void AccessRecord::finish(const io::PumpResult& copied) {
  if (!copied.outcome && copied.outcome.error().code() == ErrorCode::kCancelled) return;  // drained: the destructor says so
  const bool ok = copied.outcome.has_value();
  count_end(ok ? ResponseFlag::kNone : ResponseFlag::kConnect);
  tell_end(ok ? std::string() : copied.outcome.error().message());
}

void AccessRecord::finish(const Failure& failure) {
  count_end(failure.flag);
  tell_end(failure.message);
}

void AccessRecord::deny(const std::string& why, RefusalLog& lines) {
  count_end(ResponseFlag::kDeny);
  if (lines.may_tell(addresses_.source.ip())) tell_end(why);
}

void AccessRecord::count_end(ResponseFlag flag) {
  finished_ = true;
  if (flag == ResponseFlag::kNone) {
    series_.closed->add();
  } else {
    metrics_.count_failure(parties_, flag);
  }
}

void AccessRecord::tell_end(const std::string& error) const {
  write_log(error.empty() ? log::Level::kInfo : log::Level::kError, "connection complete", error);
}

void AccessRecord::on_still_open() { write_log(log::Level::kInfo, "connection open", {}); }

void AccessRecord::write_log(log::Level level, std::string_view message, const std::string& error) const {
  if (!log::enabled(level, kTarget)) return;
  Line line;
  describe_ends(line, parties_, addresses_);
  // Sent and received are seen from the proxy's own workload: the client outbound, the server inbound.
  const bool outbound = parties_.reporter == Reporter::kSource;
  line.number("bytes_sent", outbound ? counters_.a_to_b : counters_.b_to_a);
  line.number("bytes_recv", outbound ? counters_.b_to_a : counters_.a_to_b);
  const auto duration = std::chrono::duration_cast<std::chrono::milliseconds>(clock_.monotonic() - begun_);
  line.text("duration", fmt::format("{}ms", duration.count()));
  line.text("error", error);
  line.write(level, message);
}

void RefusalLog::write(Reporter reporter, const SocketAddress& source, const SocketAddress& destination,
                       const std::string& error) {
  if (!log::enabled(log::Level::kWarn, kTarget)) return;
  if (!may_tell(source.ip())) return;
  Line line;
  line.display("src.addr", source.to_string());
  line.display("dst.addr", destination.to_string());
  line.text("direction", reporter == Reporter::kSource ? "outbound" : "inbound");
  line.text("error", error);
  line.write(log::Level::kWarn, "connection failed");
}

bool RefusalLog::may_tell(const IpAddress& source) {
  const auto now = loop_.now();
  const auto is_old = [now](const auto& entry) { return now - entry.second.since >= kFirstLinesWithin; };
  auto found = first_.find(source);
  if (found == first_.end()) {
    if (first_.size() >= kFirstLinesSources) std::erase_if(first_, is_old);
    if (first_.size() < kFirstLinesSources) found = first_.emplace(source, Told{now, 0}).first;
  }
  if (found != first_.end()) {
    if (is_old(*found)) found->second = {now, 0};
    if (found->second.lines < kFirstLines) {
      ++found->second.lines;
      return true;
    }
  }
  if (lines_.take(1, now)) return true;
  counters_.count(LimitReason::kLogLines);
  return false;
}

}  // namespace weft::ztunnel
