// Plain text that reaches a pod of the mesh: delivered when policy lets somebody without an identity in.
#pragma once

#include "lib/io/network.h"
#include "ztunnel/pod_proxy.h"

namespace weft::ztunnel {

// Serves one redirected connection. Runs in the pod's scope; `pod` outlives it.
Task<void> serve_passthrough(PodProxy& pod, io::Accepted accepted);

}  // namespace weft::ztunnel
