// The packet rules of the node's own network namespace as nftables text. Pure. Names are istio-cni's, so that either node
// agent replaces or removes what the other one left.
#pragma once

#include <string>

#include "cni-plugin/redirect/probes.h"

namespace weft::cni::redirect {

// One transaction that replaces our table.
std::string host_install_text(const ProbeOptions& options, const ProbedPods& pods);
// One transaction that removes our table, if there is one.
std::string host_remove_text();
// Lists our table; nft fails when there is none.
std::string host_list_text();

}  // namespace weft::cni::redirect
