#include "lib/manifest/selector.h"

namespace weft::manifest {

LabelSelector read_label_selector(const Reader& selector) {
  LabelSelector out;
  out.labels = selector.text_map("matchLabels");
  for (const auto& entry : selector.list("matchExpressions"))
    out.expressions.push_back({entry.text("key"), entry.text("operator"), entry.texts("values")});
  return out;
}

}  // namespace weft::manifest
