// Findings that change nothing in what is enforced: fields without effect, references to nothing, rules that allow more than
// their author probably meant.
#pragma once

#include "lib/translate/detail/world.h"

namespace weft::translate::detail {

// All of the below.
void advise(World& world);

void advise_core(World& world);      // namespaces, pods, services, config maps
void advise_security(World& world);  // who is selected, who is named, what is broader than it looks
void advise_other(World& world);     // kinds that no program of this mesh serves yet

}  // namespace weft::translate::detail
