#include "lib/translate/detail/advice.h"

namespace weft::translate::detail {

void advise_other(World&) {}

}  // namespace weft::translate::detail
