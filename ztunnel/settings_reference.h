// The reference page of the settings, docs/settings.md, made from the table.
#pragma once

#include <string>

namespace weft::ztunnel {

// Markdown; what `ztunnel help settings` prints and docs/settings.md holds.
std::string settings_reference();

}  // namespace weft::ztunnel
