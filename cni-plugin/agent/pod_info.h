// What the node agent knows of a pod from outside: who it is, where it is, and whether it is to be in the mesh.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "lib/base/ip.h"

namespace weft::cni::agent {

struct PodInfo {
  std::string uid;  // of the object; NAMESPACE/NAME when that has none
  std::string name, namespace_name, service_account;
  std::vector<IpAddress> ips;
  std::string static_uid;  // of a static pod: what kubelet, runtime and cgroups call it; else empty
  std::string netns_hint;  // the annotation weft.io/netns: breaks ties, no more (netns.h)
  bool running = false;    // its applications may run
  bool finished = false;   // they have ended for good; as if the pod were gone
  bool wanted = false;     // in the mesh
  bool undecided = false;  // not wanted as far as is known: nobody describes its namespace, whose labels would decide
  std::string reason;      // why wanted or not, for people

  friend bool operator==(const PodInfo&, const PodInfo&) = default;
  std::string full_name() const { return namespace_name + "/" + name; }
  // That UID, of a cgroup or a runtime, is this pod's.
  bool has_uid(const std::string& other) const { return other == uid || (!static_uid.empty() && other == static_uid); }
};

// What its object, its runtime and its cgroups call it.
inline std::set<std::string> uids_of(const PodInfo& pod) {
  std::set<std::string> uids{pod.uid};
  if (!pod.static_uid.empty()) uids.insert(pod.static_uid);
  return uids;
}

}  // namespace weft::cni::agent
