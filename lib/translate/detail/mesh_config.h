// Which mesh configuration is in force.
#pragma once

#include <string>
#include <vector>

#include "lib/translate/mesh_config.h"

namespace weft::translate::detail {

struct ChosenMeshConfig {
  MeshConfig config;
  std::string error;  // why the one among the objects is not it; empty when it is, or when there is none
};

// `objects`: those in force. `last_good` (may be null) stands in for one that cannot be read.
ChosenMeshConfig choose_mesh_config(const std::vector<manifest::ObjectPtr>& objects, const Options& options,
                                    const MeshConfig* last_good);

}  // namespace weft::translate::detail
