// Kinds that no program of this mesh serves yet: each is kept, and told what does not happen.
#include <algorithm>
#include <string_view>

#include "lib/manifest/schema.h"
#include "lib/translate/detail/advice.h"
#include "lib/translate/detail/tree.h"

namespace weft::translate::detail {
namespace {

struct Unserved {
  std::string_view group, kind;  // an empty kind: the whole group
  const char* reason;
  const char* message;
  // Of a kind that takes targetRefs and has none here, instead of the above: null when the kind takes none.
  const char* by_selector = nullptr;
};

constexpr const char* kHttpOnly =
    "acts in HTTP proxies only, and no waypoint or gateway of this mesh serves it yet; connections go to any pod of the "
    "service";
constexpr const char* kForeign = "belongs to another mesh and is not applied; HTTPRoute says the same for waypoints";

constexpr Unserved kUnserved[] = {
    {"networking.istio.io", "ProxyConfig", "NoEffectInAmbient",
     "sets up sidecars and gateways only; the node proxy has settings of its own"},
    {"security.istio.io", "RequestAuthentication", "NoWaypoint",
     "tokens are checked by HTTP proxies only, and no waypoint of this mesh serves it yet: no token is checked or refused",
     "spec.selector: neither node proxies nor waypoints take it, so no token is checked or refused; use targetRefs"},
    {"extensions.istio.io", "WasmPlugin", "NoWaypoint",
     "runs in HTTP proxies only, and no waypoint of this mesh serves it yet: the module is not fetched and filters nothing",
     "spec.selector: waypoints take targetRefs, so the module is not fetched and filters nothing"},
    {"gateway.networking.k8s.io", "HTTPRoute", "NoWaypoint", kHttpOnly},
    {"gateway.networking.k8s.io", "GRPCRoute", "NoWaypoint", kHttpOnly},
    {"gateway.networking.k8s.io", "TCPRoute", "NoWaypoint", kHttpOnly},
    {"gateway.networking.k8s.io", "TLSRoute", "NoWaypoint", kHttpOnly},
    {"linkerd.io", "", "UnsupportedKind", kForeign},
    {"split.smi-spec.io", "", "UnsupportedKind", kForeign},
    {"consul.hashicorp.com", "", "UnsupportedKind", kForeign},
};

bool has_targets(const Item<manifest::Untyped>& item) {
  const Tree tree(item);
  return tree.spec().any("targetRef") || tree.spec().any("targetRefs");
}

// A kind of Istio's that does not exist: the API server would refuse a word misspelt.
void unknown_kind(const Item<manifest::Untyped>& item) {
  const auto& object = *item.object;
  constexpr std::string_view kGroups[] = {"security.istio.io", "networking.istio.io", "telemetry.istio.io",
                                          "extensions.istio.io"};
  if (std::ranges::find(kGroups, object.group) == std::end(kGroups)) return;
  if (!manifest::find_kind(object.group, object.kind).known)
    item.status->find(Level::kError, "UnsupportedKind",
                      shown(object.kind) + " is no kind of " + object.group + "; the object has no effect");
}

}  // namespace

void advise_other(World& world) {
  for (const auto& item : world.untyped) {
    unknown_kind(item);
    for (const auto& unserved : kUnserved) {
      if (item.object->group != unserved.group || (!unserved.kind.empty() && item.object->kind != unserved.kind)) continue;
      if (unserved.by_selector && !has_targets(item)) {
        item.status->find(Level::kWarning, "NoEffectInAmbient", unserved.by_selector);
      } else {
        item.status->find(Level::kWarning, unserved.reason, unserved.message);
      }
      break;
    }
  }
}

}  // namespace weft::translate::detail
