#include "lib/translate/detail/advice.h"

namespace weft::translate::detail {

void advise(World& world) {
  advise_core(world);
  advise_security(world);
  advise_other(world);
}

}  // namespace weft::translate::detail
