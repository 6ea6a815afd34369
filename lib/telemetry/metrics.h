// Counters and gauges with fixed label sets, written out as OpenMetrics text.
//
// Our own rather than prometheus-cpp: the text is a contract (label order, `# UNIT`, `# EOF`) that its serializer does
// not keep, and it has no static library for the release; see docs/decisions/own-metrics.md.
//
// Threads: any. Samples are atomics; a handle stays valid as long as its registry, so a hot path looks a sample up once
// and keeps it. Looking one up takes a lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weft::telemetry {

// In the order they are written. Names are the program's own; values may come from anywhere: what is not UTF-8 in them
// is replaced, for one bad byte would void the whole scrape.
using Labels = std::vector<std::pair<std::string_view, std::string>>;

// Label sets a family keeps apart, and bytes of label text it holds for them (20,000 sets of an ordinary pod's traffic
// labels, about 1 KiB each, with room to spare). What comes beyond either is counted in one sample whose label values
// are all "other": a peer that invents label values cannot fill the memory.
inline constexpr std::size_t kSeriesMax = 20'000;
inline constexpr std::size_t kSeriesTextMax = 32 << 20;

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

// Both have the same samples; they differ in what they say of a family.
enum class TextFormat {
  kOpenMetrics,  // 1.0: a counter's family is named without "_total"
  // text/plain 0.0.4: a family has the name of its samples. Checkers of that format allow endings like "_count" to
  // histograms only, so a gauge with one is "untyped" there. The final "# EOF" is a comment.
  kPrometheus,
};

// What a registry needs of a family, whatever its samples are.
class AnyFamily {
 public:
  virtual ~AnyFamily() = default;
  virtual const std::string& name() const = 0;
  // Appends the family's lines; nothing without samples.
  virtual void append_text(std::string& out, TextFormat format) const = 0;
};

// One metric family. `Sample` is Counter or Gauge.
template <typename Sample>
class Family final : public AnyFamily {
 public:
  Family(std::string name, std::string help, std::string unit);
  Family(const Family&) = delete;
  Family& operator=(const Family&) = delete;

  // The sample with these labels, made when it is new. Without labels: the family's only one.
  Sample& with(const Labels& labels = {});

  const std::string& name() const override { return name_; }
  void append_text(std::string& out, TextFormat format) const override;

 private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  // By `name="value",...` as written: equal text is the same series. Nodes stay where they are.
  using Series = std::unordered_map<std::string, Sample, TextHash, std::equal_to<>>;

  std::string name_;
  std::string help_;
  std::string unit_;
  mutable std::mutex mutex_;
  Series series_;
  std::vector<const typename Series::value_type*> order_;  // as they were made
  std::size_t text_size_ = 0;
  bool full_ = false;
};

using CounterFamily = Family<Counter>;
using GaugeFamily = Family<Gauge>;

class Registry {
 public:
  // `name` without "_total", which the text adds; `help` one line without quotes, backslashes (formats escape them
  // differently) and the final full stop, which the text adds; a `unit` is the end of the name, added where it is
  // missing. Families are made at start, by one thread, and live as long as the registry. A name asked for again is the
  // same family and must be of the same kind.
  CounterFamily& counters(std::string name, std::string help, std::string unit = {});
  GaugeFamily& gauges(std::string name, std::string help, std::string unit = {});
  // Runs before each text is made, on its caller's thread, to set gauges that are read and not counted (open
  // descriptors).
  void before_text(std::function<void()> refresh);

  // Text with the final "# EOF", families in the order they were made.
  std::string text(TextFormat format = TextFormat::kOpenMetrics) const;

 private:
  template <typename Sample>
  Family<Sample>& family(std::string name, std::string help, std::string unit);

  std::vector<std::unique_ptr<AnyFamily>> families_;
  std::vector<std::function<void()>> refreshers_;
};

}  // namespace weft::telemetry
