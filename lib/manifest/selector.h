// Label selectors as written, in any document.
#pragma once

#include "lib/manifest/object.h"
#include "lib/manifest/reader.h"

namespace weft::manifest {

// matchLabels and matchExpressions of this map; over nothing: a selector without conditions.
LabelSelector read_label_selector(const Reader& selector);

}  // namespace weft::manifest
