// One outbound connection, from the application's SYN to the last byte.
#pragma once

#include "lib/io/network.h"
#include "ztunnel/pod_proxy.h"

namespace weft::ztunnel {

// Decides where the connection goes, opens that way, copies, records. Runs in the pod's scope; `pod` outlives it. Every
// failure closes the application's connection with a reset: it never looks like an orderly end.
Task<void> serve_outbound(PodProxy& pod, io::Accepted accepted);

}  // namespace weft::ztunnel
