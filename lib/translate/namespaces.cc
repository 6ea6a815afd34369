#include "lib/translate/namespaces.h"

namespace weft::translate {

KnownNamespaces known_namespaces(const std::vector<manifest::ObjectPtr>& objects, const KnownNamespaces& before) {
  KnownNamespaces known;
  for (const auto& object : objects) {
    if (object->as<manifest::Namespace>()) known.insert_or_assign(object->meta.name, KnownNamespace{object});
  }
  if (before.empty()) return known;
  for (const auto& object : objects) {
    const auto found = before.find(object->meta.namespace_);
    if (found != before.end()) known.try_emplace(found->first, found->second.object, true);
  }
  return known;
}

}  // namespace weft::translate
