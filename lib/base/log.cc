#include "lib/base/log.h"

#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <ctime>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace weft::log {
namespace {

// Lines waiting for a slow reader of our standard output. Beyond that the oldest are dropped: a worker never waits.
constexpr std::size_t kQueueMax = 10'000;
// Upstream writes module paths with this prefix; filters may name it.
constexpr std::string_view kCratePrefix = "ztunnel::";

// Directives of one filter, and filters of one process: both are set by hand, a few at most. A filter that was in force
// before counts once.
constexpr std::size_t kDirectivesMax = 64;
constexpr std::size_t kFiltersMax = 1024;

struct Directive {
  std::string target;  // empty: every target
  Level level;
  std::string shown;  // the target as it was written
};

// The filter in force. Readers load a pointer without a lock; replaced filters are therefore kept.
struct Filter {
  std::vector<Directive> directives;
  Level most_verbose = Level::kInfo;
  std::string text;
};

struct State {
  std::mutex mutex;  // guards `filters`, set-up, `dropped_before` and `endings`
  std::vector<std::unique_ptr<const Filter>> filters;
  std::atomic<const Filter*> filter{nullptr};
  std::atomic<Format> format{Format::kPlain};
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::async_logger> logger;
  std::uint64_t dropped_before = 0;  // by pools that are gone
  struct Ending {
    std::thread thread;
    std::future<void> done;
  };
  std::vector<Ending> endings;  // of pools, held up by a reader that stalls
};

State& state() {
  static auto* instance = new State;  // outlives every other static, so that late lines are harmless
  return *instance;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) { return std::tolower(c); });
  return result;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

Result<Filter> parse_filter(std::string_view text) {
  Filter filter;
  Level fallback = Level::kError;  // targets no directive names, as RUST_LOG does it
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto comma = rest.find(',');
    const auto item = trim(rest.substr(0, comma));
    rest = comma == rest.npos ? std::string_view() : rest.substr(comma + 1);
    if (item.empty()) continue;
    const auto equals = item.find('=');
    WEFT_TRY(auto level, parse_level(equals == item.npos ? item : item.substr(equals + 1)));
    if (equals == item.npos) {
      fallback = level;
      continue;
    }
    auto target = item.substr(0, equals);
    const std::string shown(target);
    if (target.starts_with(kCratePrefix)) target.remove_prefix(kCratePrefix.size());
    // The program's own name means every target.
    if (target == "ztunnel") target = {};
    std::erase_if(filter.directives, [&](const Directive& d) { return d.target == target; });
    filter.directives.push_back({std::string(target), level, shown});
    if (filter.directives.size() > kDirectivesMax) return fail(ErrorCode::kLimit, "more than 64 targets in the log filter");
  }
  // As RUST_LOG is written back: the most specific target first, the level of all others last.
  std::ranges::sort(filter.directives, [](const Directive& a, const Directive& b) {
    return a.target.size() != b.target.size() ? a.target.size() > b.target.size() : a.target > b.target;
  });
  filter.directives.push_back({"", fallback, ""});
  filter.most_verbose = Level::kOff;
  for (const auto& directive : filter.directives) {
    filter.most_verbose = std::min(filter.most_verbose, directive.level);
    if (!filter.text.empty()) filter.text += ',';
    if (!directive.shown.empty()) filter.text += directive.shown + "=";
    filter.text += to_string(directive.level);
  }
  return filter;
}

Result<void> install(Filter filter) {
  auto& s = state();
  for (const auto& earlier : s.filters) {
    if (earlier->text != filter.text) continue;
    s.filter.store(earlier.get(), std::memory_order_release);
    return {};
  }
  if (s.filters.size() >= kFiltersMax) return fail(ErrorCode::kLimit, "the log filter was changed too often");
  auto owned = std::make_unique<const Filter>(std::move(filter));
  s.filter.store(owned.get(), std::memory_order_release);
  s.filters.push_back(std::move(owned));
  return {};
}

const Filter& current() {
  auto& s = state();
  if (const auto* filter = s.filter.load(std::memory_order_acquire)) return *filter;
  std::lock_guard lock(s.mutex);
  if (!s.filter.load(std::memory_order_acquire)) (void)install(*parse_filter("info"));
  return *s.filter.load(std::memory_order_acquire);
}

std::shared_ptr<spdlog::async_logger> logger() {
  auto& s = state();
  std::lock_guard lock(s.mutex);
  if (!s.logger) {
    s.pool = std::make_shared<spdlog::details::thread_pool>(kQueueMax, 1);
    auto sink = std::make_shared<spdlog::sinks::stdout_sink_mt>();
    sink->set_pattern("%v");
    s.logger = std::make_shared<spdlog::async_logger>("weft", std::move(sink), s.pool,
                                                      spdlog::async_overflow_policy::overrun_oldest);
    s.logger->set_level(spdlog::level::trace);
    s.logger->flush_on(spdlog::level::trace);
  }
  return s.logger;
}

// "2026-03-01T10:11:12.345678Z"
void append_time(fmt::memory_buffer& out) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  const std::time_t seconds = static_cast<std::time_t>(micros / 1'000'000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900,
                 parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, micros % 1'000'000);
}

// Quoted with the escapes JSON has; text from peers cannot forge a line.
void append_quoted(fmt::memory_buffer& out, std::string_view text) {
  out.push_back('"');
  for (const unsigned char c : text) {
    switch (c) {
      case '"': out.append(std::string_view("\\\"")); break;
      case '\\': out.append(std::string_view("\\\\")); break;
      case '\n': out.append(std::string_view("\\n")); break;
      case '\r': out.append(std::string_view("\\r")); break;
      case '\t': out.append(std::string_view("\\t")); break;
      default:
        if (c < 0x20 || c == 0x7f) {
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
        } else {
          out.push_back(static_cast<char>(c));
        }
    }
  }
  out.push_back('"');
}

void append(fmt::memory_buffer& out, std::string_view text) { out.append(text.data(), text.data() + text.size()); }

}  // namespace

Result<Level> parse_level(std::string_view text) {
  const auto name = lower(trim(text));
  for (auto level : {Level::kTrace, Level::kDebug, Level::kInfo, Level::kWarn, Level::kError, Level::kOff})
    if (name == to_string(level)) return level;
  return fail(ErrorCode::kInvalidArgument, "Invalid level provided: " + std::string(text));
}

std::string_view to_string(Level level) {
  constexpr std::array<std::string_view, 6> kNames = {"trace", "debug", "info", "warn", "error", "off"};
  return kNames[static_cast<std::size_t>(level)];
}

void init(Format format, std::string_view filter) {
  state().format = format;
  auto parsed = parse_filter(filter);
  std::lock_guard lock(state().mutex);
  (void)install(parsed ? std::move(*parsed) : *parse_filter("info"));
}

Result<void> set_filter(std::string_view filter) {
  WEFT_TRY(auto parsed, parse_filter(filter));
  std::lock_guard lock(state().mutex);
  return install(std::move(parsed));
}

Result<void> check_filter(std::string_view filter) {
  WEFT_TRY(auto parsed, parse_filter(filter));
  (void)parsed;
  return {};
}

std::string current_filter() { return current().text; }

bool enabled(Level level, std::string_view target) {
  const auto& filter = current();
  if (level < filter.most_verbose) return false;
  // The first that fits is the longest; the last fits every target.
  for (const auto& directive : filter.directives) {
    if (target.starts_with(directive.target)) return level >= directive.level && directive.level != Level::kOff;
  }
  return false;
}

void write(Level level, std::string_view target, std::string_view message, const Field* fields, std::size_t count) {
  fmt::memory_buffer line;
  if (state().format.load(std::memory_order_relaxed) == Format::kJson) {
    append(line, "{\"level\":\"");
    append(line, to_string(level));
    append(line, "\",\"time\":\"");
    append_time(line);
    append(line, "\",\"scope\":");
    append_quoted(line, target);
    append(line, ",\"message\":");
    append_quoted(line, message);
    for (std::size_t i = 0; i < count; ++i) {
      line.push_back(',');
      append_quoted(line, fields[i].key);
      line.push_back(':');
      if (fields[i].kind == FieldKind::kNumber) {
        append(line, fields[i].value);
      } else {
        append_quoted(line, fields[i].value);
      }
    }
    line.push_back('}');
  } else {
    append_time(line);
    line.push_back('\t');
    append(line, to_string(level));
    line.push_back('\t');
    append(line, target);
    line.push_back('\t');
    append(line, message);
    for (std::size_t i = 0; i < count; ++i) {
      line.push_back(i == 0 ? '\t' : ' ');
      append(line, fields[i].key);
      line.push_back('=');
      if (fields[i].kind == FieldKind::kText) {
        append_quoted(line, fields[i].value);
      } else {
        append(line, fields[i].value);
      }
    }
  }
  logger()->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

void write(Level level, std::string_view target, std::string_view message, std::initializer_list<Field> fields) {
  write(level, target, message, fields.begin(), fields.size());
}

std::uint64_t dropped_lines() {
  auto& s = state();
  std::lock_guard lock(s.mutex);
  return s.dropped_before + (s.pool ? s.pool->overrun_counter() : 0);
}

bool flush() {
  auto& s = state();
  std::shared_ptr<spdlog::details::thread_pool> pool;
  {
    std::lock_guard lock(s.mutex);
    std::erase_if(s.endings, [](State::Ending& earlier) {
      if (earlier.done.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return false;
      earlier.thread.join();
      return true;
    });
    if (!s.logger) return true;
    s.logger.reset();
    pool = std::move(s.pool);
    s.dropped_before += pool->overrun_counter();
  }
  // Ending the pool writes what is queued, however long that takes; a later line starts a new one.
  std::promise<void> written;
  State::Ending ending;
  ending.done = written.get_future();
  ending.thread = std::thread([pool = std::move(pool), written = std::move(written)]() mutable {
    pool.reset();
    written.set_value();
  });
  if (ending.done.wait_for(kFlushMax) == std::future_status::ready) {
    ending.thread.join();
    return true;
  }
  const std::lock_guard lock(s.mutex);
  s.endings.push_back(std::move(ending));
  return false;
}

}  // namespace weft::log
