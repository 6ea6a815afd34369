// Reads settings through the table (setting_table.h) out of an environment, and collects what is wrong with all of them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "ztunnel/setting_table.h"
#include "ztunnel/settings.h"

namespace weft::ztunnel {

using Environment = std::map<std::string, std::string>;

// "10s", "1h30m", "1.5h", "500ms", "0": numbers with the units h, m, s, ms, us (or µs) and ns, as Go writes them. Nothing
// negative, nothing above 292 years.
Result<Duration> parse_duration(std::string_view text);

// Every function takes the name of a setting in the table. A value that cannot be used is noted and read as the default.
// The environment must outlive the reader.
class SettingReader {
 public:
  explicit SettingReader(const Environment& environment) : environment_(environment) {}

  bool is_set(std::string_view name) const { return find(name) != nullptr; }
  // The value or its default.
  std::string text(std::string_view name) const;
  bool boolean(std::string_view name);
  std::int64_t number(std::string_view name);
  Duration duration(std::string_view name);
  // Of settings without a default; nullopt when unset or unusable.
  std::optional<std::string> given(std::string_view name) const;
  std::optional<bool> optional_boolean(std::string_view name);
  std::optional<std::int64_t> optional_number(std::string_view name);
  std::optional<Duration> optional_duration(std::string_view name);
  // Settings switched on by one literal.
  bool is(std::string_view name, std::string_view literal) const { return text(name) == literal; }
  // Members of the family whose names begin with `prefix`, which is stripped.
  std::vector<std::pair<std::string, std::string>> family(std::string_view prefix) const;

  // By the kind of the setting, default included; for values that were found good.
  SettingValue value(const Setting& setting);

  // Notes "invalid env var NAME=VALUE (REASON)".
  void reject(std::string_view name, std::string_view reason);
  // Notes a line of its own; control characters in it become spaces.
  void problem(std::string line);
  // One kInvalidArgument with all problems, one a line.
  Result<void> result() const;

 private:
  const std::string* find(std::string_view name) const;

  const Environment& environment_;
  std::vector<std::string> problems_;
};

}  // namespace weft::ztunnel
