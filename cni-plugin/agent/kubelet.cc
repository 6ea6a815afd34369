#include "cni-plugin/agent/kubelet.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "lib/base/fd.h"
#include "lib/base/scope_exit.h"

namespace weft::cni::agent {
namespace {

// Enough for a status file and for the first arguments, where the program's name is.
constexpr std::size_t kTextMax = 8 * 1024;

std::string read_text(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  std::string text(kTextMax, '\0');
  const auto got = ::read(fd.get(), text.data(), text.size());
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

template <typename Int>
std::optional<Int> leading_number(std::string_view text) {
  Int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

std::vector<unsigned> processes(const std::string& proc) {
  std::vector<unsigned> pids;
  DIR* open = ::opendir(proc.c_str());
  if (!open) return pids;
  const ScopeExit close([open] { ::closedir(open); });
  while (const dirent* entry = ::readdir(open)) {
    if (auto pid = leading_number<unsigned>(static_cast<const char*>(entry->d_name))) pids.push_back(*pid);
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

bool is_kubelet(const std::string& process) {
  const auto name = read_text(process + "/comm");
  if (name == "k3s\n" || name == "k3s-server\n" || name == "k3s-agent\n") return true;
  if (name != "kubelet\n" && name != "kubelite\n") return false;
  return read_text(process + "/cmdline").find("kubelet") != std::string::npos;
}

// "Uid:" and four numbers, the real one first (proc_pid_status(5)).
std::optional<uid_t> real_uid(const std::string& process) {
  constexpr std::string_view kKey = "\nUid:\t";
  const auto status = read_text(process + "/status");
  const auto at = status.find(kKey);
  if (at == std::string::npos) return std::nullopt;
  return leading_number<uid_t>(std::string_view(status).substr(at + kKey.size()));
}

}  // namespace

std::optional<uid_t> find_kubelet_uid(const std::string& proc) {
  for (const auto pid : processes(proc)) {
    const auto process = proc + "/" + std::to_string(pid);
    if (!is_kubelet(process)) continue;
    if (auto uid = real_uid(process)) return uid;
  }
  return std::nullopt;
}

}  // namespace weft::cni::agent
