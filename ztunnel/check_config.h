// The command check-config: everything that is wrong with a configuration, at once, without starting anything.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/io/files.h"
#include "ztunnel/setting_reader.h"

namespace weft::ztunnel {

// What a start with this environment would refuse, and what would keep it from working although it starts: files that are
// named but cannot be read, certificates and filters that are none. One problem a line; none: the configuration is good.
// Neither the authority nor the node agent is asked. `mesh_config` as read_mesh_config() gave it.
std::vector<std::string> check_config(const Environment& environment, unsigned cpus,
                                      const Result<std::optional<std::string>>& mesh_config, io::Files& files);

}  // namespace weft::ztunnel
