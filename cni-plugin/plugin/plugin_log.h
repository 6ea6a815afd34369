// Log lines of the plugin. Standard output belongs to the CNI result, so lines go, as JSON,
//   - to standard error, which the runtime keeps when we fail;
//   - to the node agent's log socket, if it is there when the process starts: all at once when it ends;
//   - to a file in the agent's folder, from info upwards: at most kFileMax, one older file beside it for two days.
// A line that cannot be delivered is dropped: a pod's start does not depend on logs. Single-threaded.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/fd.h"

namespace weft::cni::plugin {

class PluginLog {
 public:
  enum class Level { kNone, kFatal, kError, kWarn, kInfo, kDebug };
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  static constexpr std::size_t kFileMax = 10 * 1024 * 1024;
  // One start of a pod writes some five lines; more than this is a loop gone wrong.
  static constexpr std::size_t kLinesMax = 500;

  // `level` as in plugin_log_level; empty or unknown text is info.
  PluginLog(std::string_view level, std::string run_dir);
  // Delivers to the agent.
  ~PluginLog();
  PluginLog(const PluginLog&) = delete;
  PluginLog& operator=(const PluginLog&) = delete;

  void write(Level level, std::string_view message, Labels labels = {});

 private:
  const Level level_;
  const std::string run_dir_;
  bool to_agent_ = false;
  Fd file_;
  std::vector<std::string> lines_;
};

}  // namespace weft::cni::plugin
