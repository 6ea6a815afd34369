// What the CNI plugin says, as istio-cni's does: JSON with Go's field names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/ip.h"
#include "lib/base/log.h"
#include "lib/base/result.h"

namespace weft::cni::agent {

// POST /cmdadd
struct AddEvent {
  std::string netns;  // CNI_NETNS, a path on the host
  std::string pod_name, pod_namespace;
  std::string pod_uid;  // PodUID, which istio-cni's plugin does not send; empty when it is not known
  std::vector<IpAddress> ips;
};
// kInvalidArgument says what is missing or wrong. Unknown fields are ignored.
Result<AddEvent> parse_add_event(std::string_view body);

// POST /log: lines the plugin logged, to be said again by the agent.
struct PluginLine {
  log::Level level = log::Level::kInfo;
  std::string message;
  std::vector<std::pair<std::string, std::string>> labels;
};
// Lines that are no JSON objects with a level and a message are counted in `dropped`. kInvalidArgument when the body is no
// list of texts.
Result<std::vector<PluginLine>> parse_log_lines(std::string_view body, std::size_t& dropped);

}  // namespace weft::cni::agent
