// The tunnel port of a pod: mutual TLS, then one CONNECT per connection to the application.
#pragma once

#include "lib/io/network.h"
#include "ztunnel/pod_proxy.h"

namespace weft::ztunnel {

// Serves one peer's tunnel connection to its end. Runs in the pod's scope; `pod` outlives it.
Task<void> serve_tunnels(PodProxy& pod, io::Accepted accepted);

}  // namespace weft::ztunnel
