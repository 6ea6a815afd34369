#include "lib/manifest/object.h"

#include <algorithm>

namespace weft::manifest {

bool LabelSelector::matches(const Labels& given) const {
  for (const auto& [key, value] : labels) {
    auto found = given.find(key);
    if (found == given.end() || found->second != value) return false;
  }
  for (const auto& expression : expressions) {
    auto found = given.find(expression.key);
    const bool present = found != given.end();
    const bool listed =
        present && std::find(expression.values.begin(), expression.values.end(), found->second) != expression.values.end();
    bool holds = false;
    if (expression.op == "In") holds = listed;
    if (expression.op == "NotIn") holds = !listed;
    if (expression.op == "Exists") holds = present;
    if (expression.op == "DoesNotExist") holds = !present;
    if (!holds) return false;
  }
  return true;
}

std::string key_of(const Object& object) {
  return object.group + "/" + object.kind + "/" + object.meta.namespace_ + "/" + object.meta.name;
}

}  // namespace weft::manifest
