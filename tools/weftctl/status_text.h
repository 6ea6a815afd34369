// What `weftctl status` prints.
#pragma once

#include "tools/weftctl/command_line.h"
#include "tools/weftctl/status.h"

namespace weft::ctl {

// For people: a paragraph a node, tables of certificates and pods, and last what is to be seen to.
std::string status_text(const std::vector<NodeStatus>& nodes, Colour colour);
// For programs; docs/weftctl.md.
std::string status_json(const std::vector<NodeStatus>& nodes);

}  // namespace weft::ctl
