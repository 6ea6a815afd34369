// Findings that change nothing in what is enforced: fields without effect, references to nothing, rules that allow more than
// their author probably meant.
#pragma once

#include "lib/translate/detail/world.h"

namespace weft::translate::detail {

// All of the below.
void advise(World& world);

void advise_core(World& world);         // namespaces, pods, services
void advise_security(World& world);     // who is selected, who is named, what is broader than it looks
void advise_routing(World& world);      // VirtualService, DestinationRule, Istio's Gateway, Sidecar
void advise_telemetry(World& world);    // Telemetry, EnvoyFilter
void advise_mesh_config(World& world);  // config maps and certificates of the root namespace
void advise_foreign(World& world);      // what would be made of the kinds of other meshes
void advise_other(World& world);        // kinds that no program of this mesh serves yet

}  // namespace weft::translate::detail
