// Workloads, services and policies as the dump shows them: the keys of the local configuration file, what is default left
// out.
#pragma once

#include <map>

#include "lib/model/snapshot_editor.h"
#include "ztunnel/dump/json.h"

namespace weft::ztunnel::dump {

Json describe(const model::Workload& workload);
Json describe(const model::Service& service);
Json describe(const model::Policy& policy);

// `workloads`, `services`, `policies` and `stagedServices` of a mesh; workloads by uid, services by host name, policies by
// key.
void add_mesh(Json& dump, const model::Snapshot& mesh);
// The same three of a configuration file, as it lists them, in the dump's order of `staticConfig`.
Json describe(const model::MeshObjects& objects);

}  // namespace weft::ztunnel::dump
