// What is known of namespaces: what their objects say, or said last.
//
// Labels of a namespace decide who is in the mesh and which waypoint stands before it. A Namespace object that is missing
// for a moment, or removed by mistake, must not send traffic that was protected out in plain text: what it said holds on for
// the objects that still stand in the namespace. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lib/manifest/object.h"

namespace weft::translate {

struct KnownNamespace {
  manifest::ObjectPtr object;  // a manifest::Namespace
  bool gone = false;           // it is not among the objects any more
};
using KnownNamespaces = std::map<std::string, KnownNamespace>;  // by name

// The namespaces that `objects` describe, and of those `before` the ones that an object still names as its own. Of a
// namespace described several times the last object counts.
KnownNamespaces known_namespaces(const std::vector<manifest::ObjectPtr>& objects, const KnownNamespaces& before);

}  // namespace weft::translate
