// Kinds that no program of this mesh serves yet: each is kept, and told what does not happen.
#include <string_view>

#include "lib/translate/detail/advice.h"

namespace weft::translate::detail {
namespace {

struct Unserved {
  std::string_view group, kind;  // an empty kind: the whole group
  const char* reason;
  const char* message;
};

constexpr const char* kHttpOnly =
    "acts in HTTP proxies only, and no waypoint or gateway of this mesh serves it yet; connections go to any pod of the "
    "service";
constexpr const char* kForeign = "belongs to another mesh and is not applied; HTTPRoute says the same for waypoints";

constexpr Unserved kUnserved[] = {
    {"networking.istio.io", "VirtualService", "NoWaypoint", kHttpOnly},
    {"networking.istio.io", "DestinationRule", "NoWaypoint", kHttpOnly},
    {"networking.istio.io", "Gateway", "NoMatchingWorkloads",
     "no gateway of this mesh serves it yet; nothing listens for it"},
    {"networking.istio.io", "Sidecar", "NoEffectInAmbient",
     "limits sidecars only: no host is hidden and no connection refused by it; to restrict what pods reach, use "
     "NetworkPolicy"},
    {"networking.istio.io", "EnvoyFilter", "UnsupportedPatch",
     "changes Envoy's configuration, which this mesh does not have"},
    {"networking.istio.io", "ProxyConfig", "NoEffectInAmbient",
     "sets up sidecars and gateways only; the node proxy has settings of its own"},
    {"security.istio.io", "RequestAuthentication", "NoEffectInAmbient",
     "tokens are checked by HTTP proxies only, and no waypoint of this mesh serves it yet: no token is checked or refused"},
    {"telemetry.istio.io", "Telemetry", "NoWaypoint", "the node proxy's metrics and logs do not follow it yet"},
    {"extensions.istio.io", "WasmPlugin", "NoWaypoint",
     "runs in HTTP proxies only, and no waypoint of this mesh serves it yet"},
    {"gateway.networking.k8s.io", "HTTPRoute", "NoWaypoint", kHttpOnly},
    {"gateway.networking.k8s.io", "GRPCRoute", "NoWaypoint", kHttpOnly},
    {"gateway.networking.k8s.io", "TCPRoute", "NoWaypoint", kHttpOnly},
    {"gateway.networking.k8s.io", "TLSRoute", "NoWaypoint", kHttpOnly},
    {"linkerd.io", "", "UnsupportedKind", kForeign},
    {"split.smi-spec.io", "", "UnsupportedKind", kForeign},
    {"consul.hashicorp.com", "", "UnsupportedKind", kForeign},
};

}  // namespace

void advise_other(World& world) {
  for (const auto& item : world.untyped) {
    for (const auto& unserved : kUnserved) {
      if (item.object->group != unserved.group || (!unserved.kind.empty() && item.object->kind != unserved.kind)) continue;
      item.status->find(Level::kWarning, unserved.reason, unserved.message);
      break;
    }
  }
}

}  // namespace weft::translate::detail
