#include "cni-plugin/agent/mark_users.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <span>
#include <unordered_map>

#include "lib/base/log.h"
#include "lib/base/scope_exit.h"

namespace weft::cni::agent {
namespace {

// Of a cgroup's text; a line a controller, real ones are below 4 KiB.
constexpr std::size_t kTextMax = 16 * 1024;
// Named in a line of text; the others are counted.
constexpr std::size_t kToldMax = 3;

using Sockets = std::unordered_map<std::uint32_t, SocketAddress>;  // remote by inode

// A folder of /proc. What is opened below it stays about the same process: when that ends nothing is found there any more,
// even when its number has been given to another.
Fd open_folder(int at, const char* path) { return Fd(::openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }

std::string read_at(const Fd& process, const char* name) {
  const Fd fd(::openat(process.get(), name, O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  std::string text(kTextMax, '\0');
  const auto got = ::read(fd.get(), text.data(), text.size());
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

// A cgroup that names a pod decides, unless it is ours too: then all this runs inside one pod, and it tells nothing.
bool belongs(const Fd& process, const PodProcesses& pod, const std::optional<std::string>& our_uid) {
  const auto uid = pod_uid_of_cgroup(read_at(process, "cgroup"));
  if (uid && uid != our_uid) return *uid == pod.uid;
  struct stat info{};
  if (::fstatat(process.get(), "ns/net", &info, 0) != 0) return false;
  return NetnsId{info.st_dev, info.st_ino} == pod.netns;
}

std::string program_of(const Fd& process) {
  auto name = read_at(process, "comm");
  if (name.ends_with('\n')) name.pop_back();
  for (auto& c : name) c = c >= ' ' && c <= '~' ? c : '?';
  return name;
}

// The inode in "socket:[123]".
std::optional<std::uint32_t> socket_inode(std::string_view link) {
  constexpr std::string_view kBegin = "socket:[";
  if (!link.starts_with(kBegin) || !link.ends_with(']')) return std::nullopt;
  std::uint32_t inode = 0;
  const auto end = link.data() + link.size() - 1;
  const auto [stop, error] = std::from_chars(link.data() + kBegin.size(), end, inode);
  if (error != std::errc() || stop != end) return std::nullopt;
  return inode;
}

// Looks through the descriptors of one process, at most `left` of them, which it lessens.
Result<MarkUser> look(const Fd& process, const Sockets& sockets, std::size_t& left) {
  MarkUser user;
  Fd folder = open_folder(process.get(), "fd");
  if (!folder) return fail_errno(errno, "look at the descriptors of a pod's process");
  DIR* open = ::fdopendir(folder.get());
  if (!open) return fail_errno(errno, "list the descriptors of a pod's process");
  (void)folder.release();
  const ScopeExit close([open] { ::closedir(open); });
  for (const dirent* entry = nullptr; left > 0 && (entry = ::readdir(open));) {
    if (entry->d_name[0] == '.') continue;
    --left;
    std::array<char, 64> link{};
    const auto size = ::readlinkat(::dirfd(open), entry->d_name, link.data(), link.size());
    if (size <= 0) continue;
    const auto inode = socket_inode({link.data(), static_cast<std::size_t>(size)});
    const auto found = inode ? sockets.find(*inode) : sockets.end();
    if (found == sockets.end()) continue;
    user.remote = found->second;
    ++user.connections;
  }
  return user;
}

}  // namespace

PodProcesses processes_of(const NetnsScan& scan, const std::string& uid, const NetnsId& netns) {
  PodProcesses out{uid, netns, {}};
  for (const auto& process : scan.processes) {
    if (out.pids.size() == kPodProcessesMax) break;
    if (process.netns == netns || process.pod_uid == uid) out.pids.push_back(process.pid);
  }
  return out;
}

Result<std::vector<MarkUser>> mark_users(const PodProcesses& pod, const std::vector<redirect::MarkedSocket>& sockets,
                                         const NetnsPlaces& places) {
  std::vector<MarkUser> users;
  if (sockets.empty()) return users;
  Sockets by_inode;
  for (const auto& socket : sockets) by_inode.emplace(socket.inode, socket.remote);
  const auto our_uid = pod_uid_of_cgroup(read_at(open_folder(AT_FDCWD, "/proc/self"), "cgroup"));
  Result<void> refused;
  std::size_t left = kPodDescriptorsMax;
  for (const auto pid : pod.pids) {
    const auto process = open_folder(AT_FDCWD, (places.proc + "/" + std::to_string(pid)).c_str());
    if (!process || !belongs(process, pod, our_uid)) continue;
    auto user = look(process, by_inode, left);
    if (!user) {
      if (user.error().code() == ErrorCode::kPermission) refused = std::unexpected(user.error());
      continue;
    }
    if (user->connections == 0) continue;
    user->pid = pid;
    user->program = program_of(process);
    users.push_back(std::move(*user));
  }
  if (users.empty() && !refused) return std::unexpected(refused.error());
  return users;
}

std::string to_string(const std::vector<MarkUser>& users) {
  std::string text;
  for (const auto& user : std::span(users).first(std::min(users.size(), kToldMax))) {
    text += fmt::format("{}{} (pid {}), {} connection{}, one to {}", text.empty() ? "" : "; ", user.program, user.pid,
                        user.connections, user.connections == 1 ? "" : "s", user.remote.to_string());
  }
  if (users.size() > kToldMax) text += fmt::format("; and {} more", users.size() - kToldMax);
  return text;
}

}  // namespace weft::cni::agent
