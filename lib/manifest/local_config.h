// The local configuration file (LOCAL_XDS_PATH): workloads, services and policies of a mesh, written by hand in YAML.
//
// Unlike manifests this form is strict: an unknown key, a missing required one or a wrong value refuses the whole text.
// Keys are camelCase and follow upstream ztunnel's file; names that are absent stay empty (no default trust domain).
#pragma once

#include <string_view>

#include "lib/base/result.h"
#include "lib/model/snapshot_editor.h"

namespace weft::manifest {

// kInvalidArgument names the line, the path and the reason of the first problem. An empty text is an empty mesh.
Result<model::MeshObjects> parse_local_config(std::string_view text);

}  // namespace weft::manifest
