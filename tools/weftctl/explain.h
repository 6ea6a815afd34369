// Would this connection be let in, by which policy and why: the code that enforces, asked without a connection.
#pragma once

#include <string>

#include "tools/weftctl/inventory.h"

namespace weft::ctl {

// One JSON line in, one out, without the line's end. Never fails: what is wrong with the line is its answer.
std::string explain_line(const Inventory& inventory, const translate::Options& options, const std::string& line);

}  // namespace weft::ctl
