// Every environment variable the node proxy knows, declared once: name, type, default, bounds, help.
//
// settings.cc reads through this table; docs/settings.md and `config` of /config_dump are made from it. Names, defaults and
// meanings are upstream's, but for those that begin with WEFT_ and MANIFEST_DIR.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "lib/base/clock.h"

namespace weft::ztunnel {

struct Setting {
  // kFlag: the literal given in `help` switches something on, every other value means off (upstream's rule for these).
  enum class Kind { kText, kBoolean, kFlag, kNumber, kDuration };

  std::string_view name;  // ends in '_' when it is the beginning of a family of names
  Kind kind = Kind::kText;
  std::string_view default_text;  // what applies when unset, as one would write it; empty: none
  std::string_view help;
  // Of numbers, and of durations in nanoseconds.
  std::int64_t min = 0;
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
  // Where the dump's `config` shows the value as it was read, upstream's key; "a.b" is inside the object "a". Empty: not
  // shown (secrets), or in a form of its own (ztunnel/dump/config.cc).
  std::string_view config_key = "";
};

std::span<const Setting> setting_table();
// Ends the process when the table has no such name: a mistake in settings.cc that every start would show.
const Setting& find_setting(std::string_view name);

}  // namespace weft::ztunnel
