"""Published cases of workloads, services and waypoints: what a node is told of Kubernetes objects."""
import json

from fixtures_run import analyze, load, mesh_config, mesh_of, thing

GROUPS = {"ServiceEntry": "networking.istio.io/v1", "WorkloadEntry": "networking.istio.io/v1", "Pod": "v1", "Service": "v1",
          "Namespace": "v1", "EndpointSlice": "discovery.k8s.io/v1"}


def native(value):
    """An object whose type $type tells, as Kubernetes writes it."""
    kind = value["$type"].split(".")[-1]
    text = json.dumps({key: part for key, part in value.items() if key != "$type"})
    text = text.replace("model.TunnelLabel", "networking.istio.io/tunnel").replace("(some time)", "2024-01-01T00:00:00Z")
    return {"apiVersion": GROUPS[kind], "kind": kind, **json.loads(text)}


def from_service_info(info):
    service, names = info["service"], info.get("portNames", {})
    ports = []
    for port in service["ports"]:
        name = names.get(str(port["servicePort"]), {}).get("portName", "")
        ports.append((port["servicePort"], port.get("targetPort", 0), name))
    labels = info.get("labelSelector") or {}
    if service["hostname"].endswith(".svc.domain.suffix"):
        return thing("Service", service["name"], service["namespace"],
                     spec={"clusterIP": (service.get("addresses") or [{"address": "10.96.0.1"}])[0]["address"], "selector": labels,
                           "ports": [{"port": at, "targetPort": to, "name": name} for at, to, name in ports]})
    return thing("ServiceEntry", service["name"], service["namespace"], GROUPS["ServiceEntry"],
                 spec={"hosts": [service["hostname"]], "resolution": "STATIC", "workloadSelector": {"labels": labels},
                       "ports": [{"number": at, "name": name, **({"targetPort": to} if to else {})} for at, to, name in ports]})


def gateway(value):
    hostname = value["address"]["destination"]["hostname"]["hostname"]
    routes = value.get("allowedRoutes") or {"fromNamespaces": "Same"}
    namespaces = {"from": routes["fromNamespaces"]}
    if "selector" in routes:
        namespaces["selector"] = {"matchLabels": routes["selector"]}
    return thing("Gateway", value["named"]["name"], value["named"]["namespace"], "gateway.networking.k8s.io/v1",
                 metadata={"labels": {"istio.io/waypoint-for": value["trafficType"]}},
                 spec={"gatewayClassName": "istio-waypoint", "listeners": [
                     {"name": "mesh", "port": 15008, "protocol": "HBONE", "allowedRoutes": {"namespaces": namespaces}}]},
                 status={"addresses": [{"type": "Hostname", "value": hostname}]})


def from_input(value):
    kind = value["$type"]
    if kind == "model.ServiceInfo":
        return from_service_info(value)
    if kind == "Waypoint":
        return gateway(value)
    if kind == "model.WorkloadAuthorization":
        return thing("AuthorizationPolicy", value["authorization"]["name"], value["authorization"]["namespace"],
                     "security.istio.io/v1", spec={"selector": {"matchLabels": value["labelSelector"]}})
    if kind == "meshwatcher.MeshConfigResource":
        return mesh_config(value["meshConfig"])
    return native(value)


def address_of(destination, inputs):
    """A waypoint's address; in the published form its namespace may be another than the waypoint's."""
    host = destination["hostname"]
    for value in inputs:
        if value["$type"] == "Waypoint" and value["address"]["destination"] == destination:
            return value["named"]["namespace"] + "/" + host["hostname"]
    return host["namespace"] + "/" + host["hostname"]


def workload_difference(got, want, mesh, inputs):
    if got is None:
        return ("otherwise", "not there")
    words = {"HEALTHY": "Healthy", "UNHEALTHY": "Unhealthy", "HOST_NETWORK": "HostNetwork"}
    expected = {"workloadIps": want.get("addresses", []), "protocol": "HBONE" if want.get("tunnelProtocol") == "HBONE" else "TCP",
                "networkMode": words.get(want.get("networkMode"), "Standard"), "status": words[want["status"]]}
    for name in ("uid", "name", "namespace", "network", "canonicalName", "canonicalRevision", "workloadName", "clusterId", "hostname",
                 "nativeTunnel", "authorizationPolicies"):
        expected[name] = want.get(name)
    expected["services"] = sorted(want.get("services", {})) or None
    if "networkGateway" in want:
        expected["networkGateway"] = {"destination": address_of(want["networkGateway"]["destination"], []), "hboneMtlsPort": 15008}
    expected["waypoint"] = None
    if "waypoint" in want:
        expected["waypoint"] = {"destination": address_of(want["waypoint"]["destination"], inputs), "hboneMtlsPort": 15008}
    for name, value in expected.items():
        if got.get(name) != value:
            return ("otherwise", "%s is %r, not %r" % (name, got.get(name), value))
    for key, ports in want.get("services", {}).items():
        service = next(s for s in mesh["services"] if s["namespace"] + "/" + s["hostname"] == key)
        endpoint = next((e for e in service["endpoints"].values() if e["workloadUid"] == want["uid"]), None)
        wanted = {str(p["servicePort"]): p["targetPort"] for p in ports["ports"]}
        if endpoint is None or endpoint["port"] != wanted:
            return ("otherwise", "ports of %s are %r, not %r" % (key, endpoint, wanted))
    return None


def workloads(outcomes, name, field):
    for told in load("ambient-objects-to-config", name + ".json")["cases"]:
        inputs = told["inputs"]
        mesh = mesh_of([from_input(value) for value in inputs] + [native(told[field])])
        results = told["result"] if isinstance(told["result"], list) else [told["result"]]
        for want in filter(None, results):
            got = next((w for w in mesh["workloads"] if w["uid"] == want["uid"]), None)
            case = "ambient-objects-to-config/%s/%s" % (name, told["name"])
            outcomes.add(case + ("/" + want["uid"] if len(results) > 1 else ""), workload_difference(got, want, mesh, inputs))


def service_difference(got, want, inputs):
    if got is None:
        return ("otherwise", "not there")
    expected = {name: want[name] for name in ("name", "namespace", "hostname")}
    expected["vips"] = [a["network"] + "/" + a["address"] for a in want.get("addresses", [])]
    expected["subjectAltNames"] = want.get("subjectAltNames", [])
    # The API server fills in a target that is not written.
    expected["ports"] = {str(p["servicePort"]): p.get("targetPort", p["servicePort"]) for p in want["ports"]}
    expected["visibility"] = "Namespace" if want.get("visibility") == "NAMESPACE" else "Public"
    if want.get("canonical"):
        expected["canonical"] = True
    expected["waypoint"] = expected["weightedWaypoints"] = expected["loadBalancer"] = None
    if "waypoint" in want:
        expected["waypoint"] = {"destination": address_of(want["waypoint"]["destination"], inputs), "hboneMtlsPort": 15008}
    if "loadBalancing" in want:
        told = want["loadBalancing"]
        expected["loadBalancer"] = {"routingPreferences": [word.capitalize() for word in told["routingPreference"]],
                                    "mode": told["mode"].capitalize(), "healthPolicy": "OnlyHealthy"}
    for name, value in expected.items():
        if got.get(name) != value:
            return ("otherwise", "%s is %r, not %r" % (name, got.get(name), value))
    return None


def services(outcomes, name, field):
    for told in load("ambient-objects-to-config", name + ".json")["cases"]:
        inputs = told["inputs"]
        mesh = mesh_of([from_input(value) for value in inputs] + [native(told[field])])
        results = told["result"] if isinstance(told["result"], list) else [told["result"]] if told["result"] else []
        case = "ambient-objects-to-config/%s/%s" % (name, told["name"])
        if not results:
            outcomes.add(case, ("otherwise", "is there") if mesh["services"] else None)
        for want in results:
            got = next((s for s in mesh["services"] if s["hostname"] == want["hostname"]), None)
            outcomes.add(case + ("/" + want["hostname"] if len(results) > 1 else ""), service_difference(got, want, inputs))


def waypoint_conditions(outcomes, name, field):
    for told in load("ambient-objects-to-config", name + ".json")["cases"]:
        found = analyze([from_input(value) for value in told["inputs"]] + [native(told[field])])
        bound = [(c["status"], c["reason"]) for kind, _, _, c in found
                 if c["type"] == "istio.io/WaypointBound" and kind in ("Service", "WorkloadEntry")]
        want = told["conditions"]["waypointBound"]
        wanted = [(str(want["status"]), want["reason"])] if want else []
        outcomes.add("ambient-objects-to-config/%s/%s" % (name, told["name"]),
                     None if bound == wanted else ("otherwise", str(bound)))


def canary_mesh(labels, annotations, namespace_labels=None, namespace_annotations=None):
    """What the service "s" of namespace "ns" weighs its waypoints by: {name: weight}."""
    named = {"trafficType": "all", "allowedRoutes": {"fromNamespaces": "All"}}
    gateways = [gateway({"named": {"name": name, "namespace": namespace}, **named,
                         "address": {"destination": {"hostname": {"hostname": name + ".example"}}}})
                for namespace, name in (("ns", "primary"), ("ns", "wp"), ("other", "ns-wp"), ("ns", "canary"))]
    mesh = mesh_of([thing("Namespace", "ns", metadata={"labels": namespace_labels or {}, "annotations": namespace_annotations or {}}),
                    thing("Service", "s", "ns", metadata={"labels": labels or {}, "annotations": annotations or {}},
                          spec={"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}), *gateways])
    return {w["destination"]["destination"]: w["weight"] for w in mesh["services"][0].get("weightedWaypoints", [])}


def canaries(outcomes):
    folder = "ambient-objects-to-config"
    use, weight = "istio.io/use-waypoint", "istio.io/use-waypoint-canary-weight"
    for name, own, inherited, want, good in load(folder, "GetCanaryWeight.json")["cases"]:
        def renamed(annotations):
            return {weight: value for value in (annotations or {}).values()}
        got = canary_mesh({use: "primary", use + "-canary": "canary"}, renamed(own), None, renamed(inherited))
        wanted = {"ns/primary.example": 100 - want, "ns/canary.example": want} if good else {}
        outcomes.add("%s/GetCanaryWeight/%s" % (folder, name), None if got == wanted else ("otherwise", str(got)))
    for name, own, inherited, _, want in load(folder, "GetUseWaypointCanary.json")["cases"]:
        def with_primary(labels):
            return {**labels, use: "primary"} if labels else {}
        got = canary_mesh(with_primary(own), {}, with_primary(inherited))
        wanted = {"ns/primary.example": 100, "%(namespace)s/%(name)s.example" % want: 0} if want else {}
        outcomes.add("%s/GetUseWaypointCanary/%s" % (folder, name), None if got == wanted else ("otherwise", str(got)))
    for name, service, _ in load(folder, "ServiceOwningWaypoints.json")["cases"]:
        weights = [entry["weight"] for entry in service.get("weightedWaypoints", [])]
        got = canary_mesh({use: "primary", use + "-canary": "canary"} if weights else {}, {weight: str(weights[-1])} if weights else {})
        wanted = dict(zip(("ns/primary.example", "ns/canary.example"), weights))
        outcomes.add("%s/ServiceOwningWaypoints/%s" % (folder, name), None if got == wanted else ("otherwise", str(got)))


def unserved(outcomes):
    """Fields that the node proxy does not read, or that only several networks have."""
    for name in ("IngressUseWaypointFromLabels", "MatchServiceScope"):
        for told in load("ambient-objects-to-config", name + ".json")["cases"]:
            outcomes.add("ambient-objects-to-config/%s/%s" % (name, told["name"]), ("no such field", ""))
