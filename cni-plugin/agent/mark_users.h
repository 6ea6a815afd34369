// Who in a pod uses the node proxy's packet mark: processes of the pod that have a socket with it open, and so send past the
// proxy (docs/decisions/packet-mark.md).
//
// Every enrolled pod has sockets with that mark, the proxy's own; which they are is not asked. Named is only who is seen to
// be the pod's, by its cgroup or its network namespace, and to hold such a socket: never a proxy, be there one, two that
// take turns, or one that ends. Who is not seen at such a moment is not named.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "cni-plugin/agent/netns.h"
#include "cni-plugin/redirect/marked_sockets.h"

namespace weft::cni::agent {

struct MarkUser {
  pid_t pid = 0;        // as the node numbers it
  std::string program;  // the process's word for itself, made printable
  std::size_t connections = 0;
  SocketAddress remote;  // of one of them
};

// What one look at a pod reads at most; a pod with more is looked at in part. Reading a descriptor takes about 4 us.
inline constexpr std::size_t kPodProcessesMax = 1024;
inline constexpr std::size_t kPodDescriptorsMax = 32 * 1024;

// The processes that may be a pod's.
struct PodProcesses {
  std::string uid;
  NetnsId netns;
  std::vector<pid_t> pids;
};
// Those of a scan that are in the pod's namespace or cgroup.
PodProcesses processes_of(const NetnsScan& scan, const std::string& uid, const NetnsId& netns);

// Which of `pod`, still being the pod's, have one of `sockets` open. kPermission when none was found and one could not be
// looked at (CAP_SYS_PTRACE). Blocks; thread-safe.
Result<std::vector<MarkUser>> mark_users(const PodProcesses& pod, const std::vector<redirect::MarkedSocket>& sockets,
                                         const NetnsPlaces& places);

// "curl (pid 77), 2 connections, one to 10.0.0.1:80"; the first few in a row, empty for none.
std::string to_string(const std::vector<MarkUser>& users);

}  // namespace weft::cni::agent
