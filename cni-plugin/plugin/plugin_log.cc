#include "cni-plugin/plugin/plugin_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "cni-plugin/plugin/agent_client.h"
#include "cni-plugin/plugin/json.h"
#include "lib/base/clock.h"

namespace weft::cni::plugin {
namespace {

constexpr std::string_view kNames[] = {"none", "fatal", "error", "warn", "info", "debug"};
constexpr std::chrono::hours kOldFileAge{48};

PluginLog::Level parse_level(std::string_view text) {
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == text) return static_cast<PluginLog::Level>(i);
  }
  return PluginLog::Level::kInfo;
}

Fd open_for_append(const std::string& path) {
  return Fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
}

// Several plugins may start pods at once: the one that holds the lock moves the full file away, if it is still the file.
Fd open_log_file(const std::string& path) {
  const auto old_path = path + ".1";
  struct stat old{};
  const auto now = std::chrono::system_clock::to_time_t(
      std::chrono::time_point_cast<std::chrono::system_clock::duration>(SystemClock().wall()));
  if (::stat(old_path.c_str(), &old) == 0 && now - old.st_mtime > std::chrono::seconds(kOldFileAge).count()) {
    (void)::unlink(old_path.c_str());
  }
  auto file = open_for_append(path);
  struct stat open{}, named{};
  if (!file || ::fstat(file.get(), &open) != 0 || static_cast<std::size_t>(open.st_size) < PluginLog::kFileMax) return file;
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return file;
  if (::stat(path.c_str(), &named) == 0 && named.st_ino == open.st_ino && named.st_dev == open.st_dev) {
    (void)::rename(path.c_str(), old_path.c_str());
  }
  return open_for_append(path);
}

void write_line(int fd, const std::string& line) {
  const auto text = line + "\n";
  [[maybe_unused]] const auto written = ::write(fd, text.data(), text.size());  // in one piece, or not worth the trouble
}

}  // namespace

PluginLog::PluginLog(std::string_view level, std::string run_dir)
    : level_(parse_level(level)), run_dir_(std::move(run_dir)) {
  to_agent_ = ::access((run_dir_ + "/log.sock").c_str(), F_OK) == 0;
  file_ = open_log_file(run_dir_ + "/istio-cni.log");
}

PluginLog::~PluginLog() {
  if (!to_agent_ || lines_.empty()) return;
  (void)post(run_dir_ + "/log.sock", "/log", Json(lines_).dump(-1, ' ', false, Json::error_handler_t::replace), kLogLimit);
}

void PluginLog::write(Level level, std::string_view message, Labels labels) {
  if (level > level_ || level == Level::kNone) return;
  Json json;
  for (const auto& [key, value] : labels) json[std::string(key)] = value;
  json["level"] = kNames[static_cast<std::size_t>(level)];
  json["time"] = format_rfc3339(SystemClock().wall());
  json["scope"] = "cni-plugin";
  json["msg"] = message;
  auto line = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  write_line(STDERR_FILENO, line);
  if (file_ && level <= Level::kInfo) write_line(file_.get(), line);
  if (to_agent_ && lines_.size() < kLinesMax) lines_.push_back(std::move(line));
}

}  // namespace weft::cni::plugin
