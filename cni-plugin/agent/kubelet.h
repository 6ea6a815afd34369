// Who sends health probes on this node.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace weft::cni::agent {

// The real UID of the kubelet, or of the process it is part of (kubelite of MicroK8s, k3s); none when no such process runs.
// `proc` is the host's /proc. Blocks for some milliseconds.
std::optional<uid_t> find_kubelet_uid(const std::string& proc);

}  // namespace weft::cni::agent
