// Network namespaces of this node: opening one, listing all, finding the one of a pod.
//
// How a running pod's namespace is found: every namespace that a process is in (/proc/PID/ns/net) or that is mounted where
// container runtimes and ip(8) mount them is entered once and its addresses are listed; the pod's is one that holds an
// address of the pod. But the address may be one that the pod no longer has, and that another got after it, or that somebody
// gave himself: something else has to tell that the namespace is the pod's (Sign). Where the processes of pods can be told
// by their cgroups, as below every kubelet, that is a process of the pod: a namespace in which none runs yet is nobody's. A
// foreign process beside it changes nothing.
// When several are left (a privileged pod can give itself any address, and two clusters on one machine may use the same),
// one is taken only if it is the one remembered, or the only one with a process of the pod's cgroup, or the one the pod
// object names; otherwise none is. The node's own namespace is never anybody's.
//
// Every function here blocks for some milliseconds: call them off the loop. Thread-safe; the calling thread stays where it
// is.
#pragma once

#include <sys/types.h>

#include <compare>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cni-plugin/agent/pod_info.h"
#include "lib/base/clock.h"
#include "lib/base/fd.h"
#include "lib/base/ip.h"
#include "lib/base/result.h"

namespace weft::cni::agent {

// What makes two descriptors the same namespace; a number may be used again once a namespace is gone.
struct NetnsId {
  dev_t device = 0;
  ino_t inode = 0;
  friend auto operator<=>(const NetnsId&, const NetnsId&) = default;
};

// An open namespace; it exists as long as this does.
struct Netns {
  Fd fd;
  NetnsId id;
  std::string path;  // where it was opened
};
using NetnsPtr = std::shared_ptr<const Netns>;

// Where a node keeps namespaces.
struct NetnsPlaces {
  std::string proc = "/proc";
  std::vector<std::string> directories{"/run/netns", "/var/run/netns"};
};

// The namespace at `path`. kInvalidArgument for a file that is none, and for the node's own.
Result<NetnsPtr> open_netns(const std::string& path, const NetnsPlaces& places);

struct NetnsCandidate {
  NetnsId id;
  std::string path;                  // where it can be opened now
  std::vector<IpAddress> addresses;  // without loopback and link-local ones
  std::set<std::string> pod_uids;    // of the cgroups of its processes
};

// A process outside the node's own namespace.
struct NetnsProcess {
  pid_t pid = 0;  // as the node numbers it
  NetnsId netns;
  std::string pod_uid;  // of its cgroup; empty when that names none
};

struct NetnsScan {
  MonotonicTime taken{};  // when it began; set by the caller
  std::vector<NetnsCandidate> found;
  std::vector<NetnsProcess> processes;
  std::set<std::string> pod_uids;  // of the cgroups of all processes, of those in the node's own namespace too
  const NetnsCandidate* find(const NetnsId& id) const;  // null when there is none
};

// kLimit when there is no thread to look with; else fails only when /proc cannot be read. What vanishes meanwhile is left
// out, and so are the cgroups of processes that this program started.
Result<NetnsScan> scan_netns(const NetnsPlaces& places);

bool holds_address(const NetnsCandidate& candidate, const PodInfo& pod);

bool has_process_of(const NetnsCandidate& candidate, const PodInfo& pod);

// Its processes are of other pods among `known`, and none of the pod's own. `known`, here and below: UIDs of all pods of the
// node, as their objects and as cgroups have them.
bool is_anothers(const NetnsCandidate& candidate, const PodInfo& pod, const std::set<std::string>& known);

// What, beside an address, says that a namespace is a pod's; the first of these that holds.
enum class Sign {
  kOwn,         // a process of the pod is in it
  kAnothers,    // is_anothers()
  kNamed,       // the pod object names it
  kInhabited,   // processes are in it, and nowhere on the node is one of a known pod: they cannot be told apart
  kRemembered,  // it was the pod's; but its number may have been given to a new one since
  kNone,
};
Sign sign_of(const NetnsScan& scan, const NetnsCandidate& candidate, const PodInfo& pod,
             const std::optional<NetnsId>& remembered, const std::set<std::string>& known);

// kNotFound when no namespace holds an address of the pod, kDenied when only another pod's does, or one that nothing else
// tells to be the pod's, or several do and nothing tells which is right.
Result<const NetnsCandidate*> match_netns(const NetnsScan& scan, const PodInfo& pod,
                                          const std::optional<NetnsId>& remembered, const std::set<std::string>& known);

// The UID of the pod that a process belongs to, from the text of /proc/PID/cgroup; none when it names none.
std::optional<std::string> pod_uid_of_cgroup(std::string_view text);

}  // namespace weft::cni::agent
