// Collects durations and describes them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace weft::load {

class Latencies {
 public:
  explicit Latencies(std::size_t expected) { nanoseconds_.reserve(expected); }

  void add(std::uint64_t nanoseconds) { nanoseconds_.push_back(nanoseconds); }
  std::size_t count() const { return nanoseconds_.size(); }

  // JSON members: p50_us, p90_us, p99_us, p999_us, max_us. Percentiles by nearest rank.
  std::string describe() {
    std::sort(nanoseconds_.begin(), nanoseconds_.end());
    char text[160];
    std::snprintf(text, sizeof text, R"("p50_us":%.2f,"p90_us":%.2f,"p99_us":%.2f,"p999_us":%.2f,"max_us":%.2f)", rank(0.5),
                  rank(0.9), rank(0.99), rank(0.999), rank(1));
    return text;
  }

 private:
  double rank(double share) const {
    if (nanoseconds_.empty()) return 0;
    const auto place = static_cast<std::size_t>(std::ceil(share * static_cast<double>(nanoseconds_.size())));
    return static_cast<double>(nanoseconds_[std::max<std::size_t>(place, 1) - 1]) / 1000;
  }

  std::vector<std::uint64_t> nanoseconds_;
};

}  // namespace weft::load
