// Counters and gauges with fixed label sets, written out as OpenMetrics text.
//
// Our own rather than prometheus-cpp: the text is a contract (label order, `# UNIT`, `# EOF`, families without samples left
// out) that its serializer does not keep, and it has no static library for the release; see docs/decisions/own-metrics.md.
//
// Threads: any. Samples are atomics; a handle stays valid as long as its registry, so a hot path looks a sample up once
// and keeps it. Looking one up takes a lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weft::telemetry {

// In the order they are written.
using Labels = std::vector<std::pair<std::string_view, std::string>>;

// Label sets a family keeps apart. What comes beyond is counted in one sample whose label values are all "other": a peer that
// invents label values cannot fill the memory.
inline constexpr std::size_t kSeriesMax = 20'000;

class Counter {
 public:
  void add(std::uint64_t count = 1) { value_.fetch_add(count, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_ = 0;
};

class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  void add(double count) { value_.fetch_add(count, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_ = 0;
};

// One metric family. `Sample` is Counter or Gauge.
template <typename Sample>
class Family {
 public:
  // The sample with these labels, made when it is new.
  Sample& with(const Labels& labels = {});
};

using CounterFamily = Family<Counter>;
using GaugeFamily = Family<Gauge>;

class Registry {
 public:
  // `name` without "_total", which the text adds; `help` without the final full stop, which the text adds. One family per
  // name; families are made at start.
  CounterFamily& counters(std::string name, std::string help, std::string unit = {});
  GaugeFamily& gauges(std::string name, std::string help, std::string unit = {});
  // Runs before each text is made, to set gauges that are read and not counted (open descriptors).
  void before_text(std::function<void()> refresh);

  // OpenMetrics 1.0 text with the final "# EOF".
  std::string text() const;
};

}  // namespace weft::telemetry
