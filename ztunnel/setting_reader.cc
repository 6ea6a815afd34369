#include "ztunnel/setting_reader.h"

#include <charconv>
#include <cmath>

namespace weft::ztunnel {
namespace {

// What a line of the log should hold of a value; inline configurations are long.
constexpr std::size_t kShownMax = 200;

struct Unit {
  std::string_view name;
  std::int64_t nanoseconds;
};
// "ms" before "m": the longest name first.
constexpr Unit kUnits[] = {{"ns", 1},
                           {"us", 1'000},
                           {"µs", 1'000},
                           {"ms", 1'000'000},
                           {"s", 1'000'000'000},
                           {"m", 60'000'000'000},
                           {"h", 3'600'000'000'000}};
constexpr long double kNanosecondsMax = 9.2e18L;

Result<bool> parse_boolean(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return fail(ErrorCode::kInvalidArgument, "must be true or false");
}

Result<std::int64_t> parse_number(std::string_view text, const Setting& setting) {
  std::int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = !text.empty() && parsed.ptr == text.data() + text.size();
  if (!whole || parsed.ec != std::errc() || number < setting.min || number > setting.max) {
    return fail(ErrorCode::kInvalidArgument,
                "must be a whole number from " + std::to_string(setting.min) + " to " + std::to_string(setting.max));
  }
  return number;
}

// For people; bounds are written in whole units.
std::string show(Duration duration) {
  if (duration.count() % 1'000'000'000 == 0) return std::to_string(duration.count() / 1'000'000'000) + "s";
  return std::to_string(duration.count() / 1'000'000) + "ms";
}

Result<Duration> parse_bounded_duration(std::string_view text, const Setting& setting) {
  WEFT_TRY(const Duration duration, parse_duration(text));
  const Duration min(setting.min), max(setting.max);
  if (duration < min || duration > max) {
    return fail(ErrorCode::kInvalidArgument, "must be from " + show(min) + " to " + show(max));
  }
  return duration;
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  const auto invalid = [] { return fail(ErrorCode::kInvalidArgument, "must be a duration such as 10s, 1h30m or 500ms"); };
  if (text == "0") return Duration{};
  if (text.empty()) return invalid();
  long double sum = 0;
  while (!text.empty()) {
    double number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (parsed.ec != std::errc() || std::signbit(number) || !std::isfinite(number)) return invalid();
    text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
    const Unit* unit = nullptr;
    for (const auto& candidate : kUnits) {
      if (text.starts_with(candidate.name) && (!unit || candidate.name.size() > unit->name.size())) unit = &candidate;
    }
    if (!unit) return invalid();
    text.remove_prefix(unit->name.size());
    sum += static_cast<long double>(number) * unit->nanoseconds;
    if (sum > kNanosecondsMax) return invalid();
  }
  return Duration(static_cast<std::int64_t>(std::llround(sum)));
}

const std::string* SettingReader::find(std::string_view name) const {
  find_setting(name);
  const auto found = environment_.find(std::string(name));
  return found == environment_.end() ? nullptr : &found->second;
}

std::string SettingReader::text(std::string_view name) const {
  const auto* value = find(name);
  return value ? *value : std::string(find_setting(name).default_text);
}

std::optional<std::string> SettingReader::given(std::string_view name) const {
  const auto* value = find(name);
  return value ? std::optional(*value) : std::nullopt;
}

std::optional<bool> SettingReader::optional_boolean(std::string_view name) {
  const auto* value = find(name);
  if (!value) return std::nullopt;
  auto parsed = parse_boolean(*value);
  if (parsed) return *parsed;
  reject(name, parsed.error().message());
  return std::nullopt;
}

std::optional<std::int64_t> SettingReader::optional_number(std::string_view name) {
  const auto* value = find(name);
  if (!value) return std::nullopt;
  auto parsed = parse_number(*value, find_setting(name));
  if (parsed) return *parsed;
  reject(name, parsed.error().message());
  return std::nullopt;
}

std::optional<Duration> SettingReader::optional_duration(std::string_view name) {
  const auto* value = find(name);
  if (!value) return std::nullopt;
  auto parsed = parse_bounded_duration(*value, find_setting(name));
  if (parsed) return *parsed;
  reject(name, parsed.error().message());
  return std::nullopt;
}

bool SettingReader::boolean(std::string_view name) {
  return optional_boolean(name).value_or(find_setting(name).default_text == "true");
}

std::int64_t SettingReader::number(std::string_view name) {
  const auto given = optional_number(name);
  const auto& setting = find_setting(name);
  return given ? *given : parse_number(setting.default_text, setting).value();
}

Duration SettingReader::duration(std::string_view name) {
  const auto given = optional_duration(name);
  const auto& setting = find_setting(name);
  return given ? *given : parse_bounded_duration(setting.default_text, setting).value();
}

SettingValue SettingReader::value(const Setting& setting) {
  if (!is_set(setting.name) && setting.default_text.empty()) return {};
  switch (setting.kind) {
    case Setting::Kind::kText:
    case Setting::Kind::kFlag: return text(setting.name);
    case Setting::Kind::kBoolean: return boolean(setting.name);
    case Setting::Kind::kNumber: return number(setting.name);
    case Setting::Kind::kDuration: return duration(setting.name);
  }
  return {};
}

std::vector<std::pair<std::string, std::string>> SettingReader::family(std::string_view prefix) const {
  find_setting(prefix);
  std::vector<std::pair<std::string, std::string>> members;
  for (auto it = environment_.lower_bound(std::string(prefix)); it != environment_.end() && it->first.starts_with(prefix);
       ++it) {
    members.emplace_back(it->first.substr(prefix.size()), it->second);
  }
  return members;
}

void SettingReader::reject(std::string_view name, std::string_view reason) {
  std::string value = text(name);
  if (value.size() > kShownMax) value = value.substr(0, kShownMax) + "...";
  problem("invalid env var " + std::string(name) + "=" + value + " (" + std::string(reason) + ")");
}

void SettingReader::problem(std::string line) {
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  problems_.push_back(std::move(line));
}

Result<void> SettingReader::result() const {
  if (problems_.empty()) return {};
  std::string lines;
  for (const auto& line : problems_) lines += (lines.empty() ? "" : "\n") + line;
  return fail(ErrorCode::kInvalidArgument, std::move(lines));
}

}  // namespace weft::ztunnel
