// Our part of the network configuration on standard input. Pure.
//
// Keys are istio-cni's; `manifest_dir` is ours: the folder of manifests that stands in for an API server. Unknown keys are
// ignored, since older installers wrote more. A known key of the wrong shape is an error that names it.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"
#include "lib/translate/options.h"

namespace weft::cni::plugin {

struct NetworkConfig {
  std::string log_level;                             // plugin_log_level; empty: info
  std::string agent_run_dir = "/var/run/istio-cni";  // cni_agent_run_dir; sockets and the log file are in it
  bool ambient_enabled = false;
  bool detection_retry = false;  // enable_ambient_detection_retry
  std::string pod_namespace;     // where the node agent runs
  std::string manifest_dir;
  std::set<std::string> exclude_namespaces;
  // Absent: the chart's. An empty list means that nothing is in the mesh.
  std::vector<translate::EnablementSelector> enablement = translate::default_enablement_selectors();
};

Result<NetworkConfig> read_network_config(std::string_view text);

}  // namespace weft::cni::plugin
