// Workloads, services and policies as the dump shows them: the keys of the local configuration file, what is default left
// out.
#pragma once

#include <map>

#include "lib/model/snapshot_editor.h"
#include "ztunnel/dump/writer.h"

namespace weft::ztunnel::dump {

// Members `workloads`, `services`, `policies` and `stagedServices` of a mesh; workloads by uid, services by host name,
// policies by key.
Task<void> write_mesh(Writer& out, const model::Snapshot& mesh);
// The first three of a configuration file, as it lists them, in the dump's order of `staticConfig`.
Task<void> write_objects(Writer& out, const model::MeshObjects& objects);

}  // namespace weft::ztunnel::dump
