// The page /logging: shows and changes what is logged while the process runs.
#pragma once

#include <string>

#include "lib/admin/server.h"

namespace weft::ztunnel {

// POST only. `level=L` adds L to the filter in force, `reset` goes back to `start_filter` first, neither only reports; of
// several levels the last counts. 400 for a level that is none, 405 for another method, both with the usage.
admin::Response answer_logging(const admin::Request& request, const std::string& start_filter);

}  // namespace weft::ztunnel
