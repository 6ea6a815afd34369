#include "lib/telemetry/metrics.h"

#include <charconv>
#include <cmath>

#include "lib/base/check.h"
#include "lib/base/log.h"

namespace weft::telemetry {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Length of the UTF-8 character that `text` starts with, 0 when there is none (RFC 3629 §4).
std::size_t character_size(std::string_view text) {
  const auto byte = [text](std::size_t at) { return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u; };
  const auto follows = [byte](std::size_t at, unsigned low = 0x80, unsigned high = 0xBF) {
    return byte(at) >= low && byte(at) <= high;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool second = follows(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF);
    return second && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool second = follows(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
    return second && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

// A NUL ends the input for some readers.
void append_escaped(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = character_size(text);
    switch (size == 0 ? '\0' : text[0]) {
      case '\\': out += "\\\\"; break;
      case '"': out += "\\\""; break;
      case '\n': out += "\\n"; break;
      case '\0': out += kReplacement; break;
      default: out += text.substr(0, size);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
}

void append_labels(std::string& out, const Labels& labels, bool overflow) {
  for (const auto& [name, value] : labels) {
    if (!out.empty()) out += ',';
    out += name;
    out += "=\"";
    append_escaped(out, overflow ? std::string_view("other") : std::string_view(value));
    out += '"';
  }
}

void append_value(std::string& out, const Counter& counter) { out += std::to_string(counter.value()); }

void append_value(std::string& out, const Gauge& gauge) {
  constexpr double kExactMax = 9007199254740992.0;  // 2^53: every integer below has its own double
  const double value = gauge.value();
  char digits[32];
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else if (value == std::trunc(value) && std::abs(value) < kExactMax) {
    out += std::to_string(static_cast<std::int64_t>(value));
  } else {
    out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  }
}

constexpr std::string_view type_name(const Counter*) { return "counter"; }
constexpr std::string_view type_name(const Gauge*) { return "gauge"; }
constexpr std::string_view suffix(const Counter*) { return "_total"; }
constexpr std::string_view suffix(const Gauge*) { return ""; }

// Whether a text checker takes the name for a part of a histogram or summary.
bool is_reserved(std::string_view name) {
  return name.ends_with("_count") || name.ends_with("_sum") || name.ends_with("_bucket");
}

void append_line(std::string& out, std::string_view keyword, std::string_view name, std::string_view rest) {
  out.append("# ").append(keyword).append(" ").append(name).append(" ").append(rest).append("\n");
}

}  // namespace

template <typename Sample>
Family<Sample>::Family(std::string name, std::string help, std::string unit)
    : name_(std::move(name)), help_(std::move(help) + "."), unit_(std::move(unit)) {}

template <typename Sample>
Sample& Family<Sample>::with(const Labels& labels) {
  // Reused, so that finding a known series allocates nothing.
  thread_local std::string key;
  key.clear();
  append_labels(key, labels, false);
  bool became_full = false;
  Sample* sample = nullptr;
  {
    const std::lock_guard lock(mutex_);
    auto found = series_.find(std::string_view(key));
    if (found == series_.end()) {
      if (series_.size() >= kSeriesMax || text_size_ + key.size() > kSeriesTextMax) {
        became_full = !std::exchange(full_, true);
        key.clear();
        append_labels(key, labels, true);
      }
      const auto [place, fresh] = series_.try_emplace(key);
      if (fresh) {
        order_.push_back(&*place);
        text_size_ += key.size();
      }
      found = place;
    }
    sample = &found->second;
  }
  if (became_full) WEFT_LOG(kWarn, "telemetry", "too many label sets, counting the rest as other", {"metric", name_});
  return *sample;
}

template <typename Sample>
void Family<Sample>::append_text(std::string& out, TextFormat format) const {
  // Only the list is copied under the lock: writing megabytes does not hold up those who look samples up.
  std::vector<const typename Series::value_type*> series;
  {
    const std::lock_guard lock(mutex_);
    series = order_;
  }
  if (series.empty()) return;
  constexpr const Sample* kKind = nullptr;
  const std::string sample_name = name_ + std::string(suffix(kKind));
  const bool open = format == TextFormat::kOpenMetrics;
  const std::string& family_name = open ? name_ : sample_name;
  append_line(out, "HELP", family_name, help_);
  append_line(out, "TYPE", family_name, !open && is_reserved(family_name) ? "untyped" : type_name(kKind));
  if (open && !unit_.empty()) append_line(out, "UNIT", family_name, unit_);
  for (const auto* entry : series) {
    out += sample_name;
    if (!entry->first.empty()) out.append("{").append(entry->first).append("}");
    out += ' ';
    append_value(out, entry->second);
    out += '\n';
  }
}

template class Family<Counter>;
template class Family<Gauge>;

template <typename Sample>
Family<Sample>& Registry::family(std::string name, std::string help, std::string unit) {
  if (!unit.empty() && !name.ends_with("_" + unit)) name += "_" + unit;
  for (const auto& family : families_) {
    if (family->name() != name) continue;
    auto* same = dynamic_cast<Family<Sample>*>(family.get());
    WEFT_CHECK(same != nullptr);
    return *same;
  }
  auto made = std::make_unique<Family<Sample>>(std::move(name), std::move(help), std::move(unit));
  Family<Sample>& reference = *made;
  families_.push_back(std::move(made));
  return reference;
}

CounterFamily& Registry::counters(std::string name, std::string help, std::string unit) {
  return family<Counter>(std::move(name), std::move(help), std::move(unit));
}

GaugeFamily& Registry::gauges(std::string name, std::string help, std::string unit) {
  return family<Gauge>(std::move(name), std::move(help), std::move(unit));
}

void Registry::before_text(std::function<void()> refresh) { refreshers_.push_back(std::move(refresh)); }

std::string Registry::text(TextFormat format) const {
  for (const auto& refresh : refreshers_) refresh();
  std::string out;
  for (const auto& family : families_) family->append_text(out, format);
  out += "# EOF\n";
  return out;
}

}  // namespace weft::telemetry
