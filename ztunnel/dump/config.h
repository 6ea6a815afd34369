// The settings in force as the dump shows them: upstream's keys, and Weft's own under `weft`. No token, no header's value,
// no inline configuration.
#pragma once

#include "ztunnel/dump/json.h"
#include "ztunnel/settings.h"

namespace weft::ztunnel::dump {

Json describe(const Settings& settings);

}  // namespace weft::ztunnel::dump
