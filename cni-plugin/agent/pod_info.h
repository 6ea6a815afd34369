// What the node agent knows of a pod from outside: who it is, where it is, and whether it is to be in the mesh.
#pragma once

#include <string>
#include <vector>

#include "lib/base/ip.h"

namespace weft::cni::agent {

struct PodInfo {
  std::string uid;  // of the object; NAMESPACE/NAME when that has none
  std::string name, namespace_name, service_account;
  std::vector<IpAddress> ips;
  std::string netns_hint;  // the annotation weft.io/netns: breaks ties, no more (netns.h)
  bool running = false;    // its applications may run
  bool finished = false;   // they have ended for good; as if the pod were gone
  bool wanted = false;     // in the mesh
  std::string reason;      // why wanted or not, for people

  friend bool operator==(const PodInfo&, const PodInfo&) = default;
  std::string full_name() const { return namespace_name + "/" + name; }
};

}  // namespace weft::cni::agent
