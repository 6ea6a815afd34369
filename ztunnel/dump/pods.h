// The pods of this node with their live connections, as the dump shows them.
#pragma once

#include <vector>

#include "ztunnel/dump/json.h"
#include "ztunnel/pods.h"

namespace weft::ztunnel::dump {

// `workloadState`: pod UID -> {state, connections (not of pending pods), info}.
Json describe(const std::vector<PodState>& pods);

}  // namespace weft::ztunnel::dump
