"""Published cases that come out otherwise here, with the reason.

An entry holds for the cases of its pattern that differ as it says; the others of the pattern must pass."""

STRICTER = "refused, published as allowed"
LOOSER = "allowed, published as refused"

NOT_SPIFFE = "the principal is no SPIFFE identity, so no certificate can carry it and no peer can have it"
OWN_PORT = "15008 is the node proxy's own port, where no connection may end, whatever a policy says"
HTTP_ALLOW = "the rule speaks of HTTP, which a node does not see: an ALLOW rule is left out at L4, the closed side; needs the L7 engine"
SIDECAR = "about sidecar injection, which this mesh does not have"
GATEWAY = "about what an ingress gateway serves; needs the L7 engine"
ENVOY = "about patches of Envoy's configuration, which no proxy of this mesh has; each such object is told UnsupportedPatch"
ORIGINATION = "about TLS that an HTTP proxy originates; needs the L7 engine"
TELEMETRY = "which Telemetry counts matters to proxies that act on it; needs the L7 engine"
ELSEWHERE = "status that another control plane wrote into the object is not read: conditions are computed anew"
HTTP_ROUTING = "HTTP requests and what becomes of them; needs the L7 engine"

LISTED = [
    # (pattern of case ids, how it differs, reason)
    ("ambient-l4-policies/allow-groups/*", "no identity", NOT_SPIFFE),
    ("ambient-l4-policies/allow-groups/*", STRICTER, OWN_PORT),
    ("ambient-l4-policies/peer-authn-permissive-port-mtls-strict-and-permissive/*", "no identity", NOT_SPIFFE),
    ("ambient-l4-policies/peer-authn-permissive-port-mtls-strict-and-permissive/*", STRICTER, OWN_PORT),
    ("ambient-l4-policies/peer-authn-strict-and-permissive-port-mtls/*", "no identity", NOT_SPIFFE),
    ("ambient-l4-policies/peer-authn-strict-and-permissive-port-mtls/*", STRICTER, OWN_PORT),
    ("ambient-l4-policies/peer-authn-strict-root-permissive-workload/*", "no identity", NOT_SPIFFE),
    ("ambient-l4-policies/peer-authn-strict-root-permissive-workload/*", STRICTER, OWN_PORT),

    ("authz-policy-decisions/single-policy/*", "no identity", NOT_SPIFFE),
    ("authz-policy-decisions/trust-domain-one-alias/*", "no identity", NOT_SPIFFE),
    ("authz-policy-decisions/trust-domain-one-alias/*", STRICTER, HTTP_ALLOW),

    ("authz-integration/TestAuthz_Principal/*", STRICTER, HTTP_ALLOW),
    ("authz-integration/TestAuthz_Namespace/*", STRICTER, HTTP_ALLOW),
    ("authz-integration/TestAuthz_NotMethod/*", STRICTER, HTTP_ALLOW),
    ("authz-integration/TestAuthz_PathPrecedence/*", STRICTER, HTTP_ALLOW),

    ("peer-authentication/global plaintext and port 9000 permissive not in service/mtls on port 8000", LOOSER,
     "a sidecar refuses mutual TLS under DISABLE; in ambient mode DISABLE is PERMISSIVE, as the cases' note says"),

    ("ambient-objects-to-config/IngressUseWaypointFromLabels/*", "no such field",
     "whether an ingress gateway goes through a waypoint; node proxies ignore the field"),
    ("ambient-objects-to-config/MatchServiceScope/*", "no such field",
     "which services other clusters see; meshes of several networks are off by default and not built"),
    ("ambient-objects-to-config/WorkloadEntryWorkloads/cross network we hostname gateway", "otherwise",
     "gateways of other networks; meshes of several networks are off by default and not built"),

    ("analysis/externalControlPlaneMissingWebhooks/*", "not told", SIDECAR),
    ("analysis/istioInjection/*", "not told", SIDECAR),
    ("analysis/istioInjectionProxyImageMismatchAbsolute/*", "not told", SIDECAR),
    ("analysis/Deployment Container SecurityContext with UID 1337/*", "not told",
     "a sidecar's user; in ambient mode nothing is told apart by user, and 1337 is as good as any"),
    ("analysis/gatewayBadPort/*", "not told", GATEWAY),
    ("analysis/gatewayCustomIngressGatewayBadPortWithoutTarget/*", "not told", GATEWAY),
    ("analysis/conflicting gateways detect/*", "not told", GATEWAY),
    ("analysis/conflicting gateways detect by sub selector/*", "not told", GATEWAY),
    ("analysis/virtualServiceGateways/VirtualServiceHostNotFoundInGateway/*", "not told", GATEWAY),
    ("analysis/destinationrule with no cacert, *", "not told", ORIGINATION),
    ("analysis/EnvoyFilterUsesRelativeOperation/*", "not told", ENVOY),
    ("analysis/EnvoyFilterUsesReplaceOperation/*", "not told", ENVOY),
    ("analysis/EnvoyFilterUsesRemoveOperation/*", "not told", ENVOY),
    ("analysis/telemetrySelector/*", "not told", TELEMETRY),
    ("analysis/GatewayAPICRDVersionBelowMinimum/*", "not told", "about an API server's definitions; a folder of manifests has none"),
    ("analysis/Condition Analyzer/*", "not told", ELSEWHERE),

    ("traffic-routing/virtualServiceCases/*", "no connection to ask about", HTTP_ROUTING),
    ("traffic-routing/gatewayCases/*", "no connection to ask about", GATEWAY),
    ("traffic-routing/hostCases/*", "no connection to ask about", HTTP_ROUTING),
    ("traffic-routing/trafficLoopCases/*", "no connection to ask about",
     "a pod that dials its sidecar's ports; the node proxy's own are tested by the namespace suites"),
    ("traffic-routing/externalNameCases/*", "no connection to ask about", GATEWAY),
    ("traffic-routing/consistentHashCases/*", "no connection to ask about",
     "DestinationRule's consistentHash, also of TCP connections, is a proxy's that acts on DestinationRules"),
    ("traffic-routing/selfCallsCases/*", "no connection to ask about",
     "a request to localhost never leaves the pod, so nothing of the mesh is asked"),
]
