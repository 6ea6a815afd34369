#include <catch2/catch_test_macros.hpp>

#include "lib/translate/test_mesh.h"

using namespace weft;
using namespace weft::translate;
using namespace weft::translate::testing;

TEST_CASE("kinds that nothing serves yet are accepted and told so") {
  struct Row {
    const char *version, *kind, *reason;
  };
  for (const auto& row : {
           Row{"networking.istio.io/v1beta1", "VirtualService", "NoWaypoint"},
           Row{"networking.istio.io/v1", "DestinationRule", "NoWaypoint"},
           Row{"networking.istio.io/v1", "Gateway", "NoMatchingWorkloads"},
           Row{"networking.istio.io/v1", "Sidecar", "NoEffectInAmbient"},
           Row{"networking.istio.io/v1alpha3", "EnvoyFilter", "UnsupportedPatch"},
           Row{"security.istio.io/v1", "RequestAuthentication", "NoEffectInAmbient"},
           Row{"telemetry.istio.io/v1", "Telemetry", "NoWaypoint"},
           Row{"extensions.istio.io/v1alpha1", "WasmPlugin", "NoWaypoint"},
           Row{"gateway.networking.k8s.io/v1", "HTTPRoute", "NoWaypoint"},
           Row{"linkerd.io/v1alpha2", "ServiceProfile", "UnsupportedKind"},
           Row{"consul.hashicorp.com/v1alpha1", "ServiceSplitter", "UnsupportedKind"},
           Row{"v1", "Secret", "Accepted"},
           Row{"rbac.authorization.k8s.io/v1", "ClusterRole", "Accepted"},
       }) {
    INFO(row.kind);
    const auto mesh = make_mesh(std::string("{apiVersion: ") + row.version + ", kind: " + row.kind +
                                ", metadata: {name: x, namespace: shop}}");
    REQUIRE(mesh.output.statuses.size() == 1);
    CHECK(mesh.condition("x", kAccepted, "Accepted")->status == "True");
    CHECK(mesh.condition("x", kFullyApplied, row.reason));
  }
}
