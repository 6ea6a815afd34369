#include "lib/translate/detail/advice.h"

namespace weft::translate::detail {

void advise(World& world) {
  advise_core(world);
  advise_security(world);
  advise_routing(world);
  advise_telemetry(world);
  advise_mesh_config(world);
  advise_foreign(world);
  advise_other(world);
}

}  // namespace weft::translate::detail
