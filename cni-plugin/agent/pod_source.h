// Where pods come from: a folder of manifests, later an API server.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cni-plugin/agent/pod_info.h"

namespace weft::cni::agent {

struct PodSet {
  std::vector<PodInfo> pods;  // of this node, those outside the mesh too; UIDs are unique
  // False while something could not be read that never was: a pod that is missing may exist all the same, in the mesh or
  // not.
  bool complete = false;
  std::set<std::string> left_out;  // UIDs of pods of this node that are not among `pods`, as nothing is certain of them
};

// Thread: the loop's.
class PodSource {
 public:
  using OnChange = std::function<void(const PodSet&)>;

  virtual ~PodSource() = default;
  // The state now.
  virtual const PodSet& pods() const = 0;
  // Looks for changes now; on_change runs inside.
  virtual void refresh() = 0;

  const PodInfo* find(std::string_view namespace_name, std::string_view name) const {
    for (const auto& pod : pods().pods) {
      if (pod.name == name && pod.namespace_name == namespace_name) return &pod;
    }
    return nullptr;
  }
};

}  // namespace weft::cni::agent
