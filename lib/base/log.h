// Log lines as `level target message key=value ...`. The only header that names spdlog; formatting is fmt.
//
// Thread-safe. Levels can be changed at run time (the /logging admin page). Nothing is logged per byte.
#pragma once

#include <spdlog/fmt/fmt.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "lib/base/result.h"

namespace weft::log {

enum class Level { kTrace, kDebug, kInfo, kWarn, kError, kOff };
enum class Format { kPlain, kJson };

// "info", "warn", "error", "debug", "trace", "off", case-insensitive.
Result<Level> parse_level(std::string_view text);
std::string_view to_string(Level level);

// Sets output format and the filter, RUST_LOG style: "info" or "access=info,dns=debug,warn" (targets are prefixes; of two
// directives for a target the later counts). Called once before any other thread starts; set_filter may be called at any
// time. kInvalidArgument names the part that is no directive; kLimit above 64 targets or 1,024 different filters.
void init(Format format, std::string_view filter);
Result<void> set_filter(std::string_view filter);
// What set_filter() would say, without doing it.
Result<void> check_filter(std::string_view filter);
// Written back in one form: the most specific target first, the level of all others last.
std::string current_filter();

bool enabled(Level level, std::string_view target);

// How a value is written: text is quoted in both formats, a displayed value (an address) only in JSON, a number in neither.
enum class FieldKind { kText, kDisplay, kNumber };

// One `key=value` of a line.
struct Field {
  std::string_view key;
  std::string value;
  FieldKind kind = FieldKind::kText;
};

// Writes one line. `message` is constant lower-case text without a full stop.
void write(Level level, std::string_view target, std::string_view message, std::initializer_list<Field> fields = {});
void write(Level level, std::string_view target, std::string_view message, const Field* fields, std::size_t count);

// Lines dropped since the start, because standard output was read too slowly for the queue of 10,000.
std::uint64_t dropped_lines();

// Writes out what is queued; called before exit. false when standard output takes nothing for kFlushMax: what was queued
// stays behind, and a thread that holds stdout with it, so the process must end by std::_Exit.
inline constexpr std::chrono::seconds kFlushMax{2};
bool flush();

}  // namespace weft::log

// WEFT_LOG(kInfo, "inpod", "proxy started", {"uid", uid}, {"port", fmt::to_string(port)});
#define WEFT_LOG(level, target, ...)                                                                        \
  do {                                                                                                      \
    if (::weft::log::enabled(::weft::log::Level::level, target)) WEFT_LOG_IMPL(level, target, __VA_ARGS__); \
  } while (false)
#define WEFT_LOG_IMPL(level, target, message, ...) \
  ::weft::log::write(::weft::log::Level::level, target, message, {__VA_ARGS__})
