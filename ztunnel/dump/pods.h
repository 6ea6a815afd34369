// The pods of this node with their live connections, as the dump shows them.
#pragma once

#include <vector>

#include "ztunnel/dump/writer.h"
#include "ztunnel/pods.h"

namespace weft::ztunnel::dump {

// Member `workloadState`: pod UID -> {state, connections (not of pending pods), info}.
Task<void> write_pods(Writer& out, const std::vector<PodState>& pods);

}  // namespace weft::ztunnel::dump
