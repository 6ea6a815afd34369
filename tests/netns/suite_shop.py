"""The online shop, from plain callers to policies: every request of its table, every refusal with its control."""
import secrets

from harness import Capture, case, evidence, expect, fabric, matrix
from lab_lib import capture, requests

SCENARIO = "shop"
CASES = {c["id"]: c for c in requests.load()}


def url_of(entry):
    return "http://%s%s" % (entry["to"], entry["path"])


def more_of(entry):
    headers = dict(entry.get("headers") or {})
    if entry.get("host"):
        headers["Host"] = entry["host"]
    return {"method": entry["method"], "headers": headers}


def allowed(mesh, name):
    entry = CASES[name]
    mesh.eventually(entry["from"], url_of(entry), entry["expect"], times=6, **more_of(entry))


def refused(mesh, name, reason):
    """Refused, logged, counted; and the same request succeeds once what refuses is gone."""
    entry = CASES[name]
    mesh.refused(entry["from"], url_of(entry), reason, **more_of(entry))
    mesh.apply(without=[entry[word] for word in ("by", "also") if word in entry])
    mesh.eventually(entry["from"], url_of(entry), 200, times=6, **more_of(entry))
    mesh.reset()
    mesh.refused(entry["from"], url_of(entry), reason, **more_of(entry))


NO_IDENTITY = "explicitly denied by: istio-system/istio_converted_static_strict"
NOT_ALLOWED = "allow policies exist, but none allowed"


@case("A1: the ingress gateway's identity reaches frontend")
def a1(mesh):
    allowed(mesh, "A1")


@case("A2: frontend reaches catalog")
def a2(mesh):
    allowed(mesh, "A2")


@case("A3: frontend may send catalog any method, because a connection has none")
def a3(mesh):
    allowed(mesh, "A3")


@case("A4: frontend reaches orders")
def a4(mesh):
    allowed(mesh, "A4")


@case("A5: users may not reach catalog; it may without catalog-policy")
def a5(mesh):
    refused(mesh, "A5", NOT_ALLOWED)


@case("A6: users may not reach orders, bearer token or not; it may without orders-policy")
def a6(mesh):
    refused(mesh, "A6", NOT_ALLOWED)


@case("A7: a stranger may not reach frontend; it may without frontend-policy")
def a7(mesh):
    refused(mesh, "A7", NOT_ALLOWED)


@case("A8: plain text does not reach catalog; it does without STRICT and catalog-policy")
def a8(mesh):
    refused(mesh, "A8", NO_IDENTITY)


@case("A8: without STRICT alone, catalog-policy still refuses plain text, for it proves no identity")
def a8_policy_alone(mesh):
    mesh.apply(without=["PeerAuthentication/default"])
    mesh.refused("outside/plain", url_of(CASES["A8"]), NOT_ALLOWED)
    mesh.reset()


@case("A9: users reaches users, over IPv4 and IPv6, because nothing selects it")
def a9(mesh):
    allowed(mesh, "A9")
    for address in mesh.lab.data["services"]["ecommerce/users"]:
        mesh.eventually("ecommerce/users", "http://%s/" % ("[%s]" % address if ":" in address else address), 200, times=6)


@case("A10: plain text does not reach users; it does without STRICT")
def a10(mesh):
    refused(mesh, "A10", NO_IDENTITY)


@case("A refusal on IPv6 is the same as on IPv4")
def refused_on_six(mesh):
    v6 = mesh.ips("ecommerce/catalog")[1]
    mesh.refused("ecommerce/users", "http://[%s]:8080/" % v6, NOT_ALLOWED)
    mesh.refused("outside/plain", "http://[%s]:8080/" % v6, NO_IDENTITY)
    mesh.eventually("ecommerce/frontend", "http://[%s]:8080/" % v6, 200)


@case("The application sees the caller's own address through two proxies, on IPv4 and IPv6")
def source_kept(mesh):
    for server in [k for k in mesh.lab.data["pods"] if k.startswith("ecommerce/users")]:
        for ip, own in zip(mesh.ips(server), mesh.ips("ecommerce/frontend")):
            got = mesh.eventually("ecommerce/frontend", "http://%s:8080/" % ("[%s]" % ip if ":" in ip else ip), 200)
            expect(got["body"]["peer"] == own, "%s saw %s, not %s" % (server, got["body"]["peer"], own))


@case("T7, T8: without policies frontend reaches users and posts to orders")
def t7_t8(mesh):
    without_policies(mesh)
    allowed(mesh, "T7")
    allowed(mesh, "T8")
    mesh.reset()


@case("T11: 600 requests of frontend spread over catalog's three pods by chance")
def t11(mesh):
    without_policies(mesh)
    mesh.eventually("ecommerce/frontend", url_of(CASES["T11"]), 200)
    got = requests.ask(mesh.lab, CASES["T11"])
    versions = [g["body"]["version"] for g in got if g.get("body")]
    expect(requests.expected(CASES["T11"], got), "outcomes %s, v1 %d, v2 %d" % (
        sorted({str(g["outcome"]) for g in got}), versions.count("v1"), versions.count("v2")))
    mesh.reset()


def without_policies(mesh):
    mesh.apply(without=["PeerAuthentication/default"] + ["AuthorizationPolicy/%s-policy" % s
                                                         for s in ("frontend", "catalog", "orders")])


@case("No token of a mesh request is on the wire; every token of the same requests is, without the label")
def wire(mesh):
    pairs = [("ecommerce/frontend", "http://catalog/"), ("ecommerce/frontend", "http://orders/"),
             ("istio-system/ingress", "http://frontend.ecommerce/"), ("ecommerce/users", "http://users/"),
             ("ecommerce/users", "http://catalog/")]  # the last one is refused

    def send():
        tokens = []
        for caller, url in pairs:
            for _ in range(8):
                tokens.append(secrets.token_hex(12))
                mesh.ask(caller, url, headers={"x-token": tokens[-1]}, body=tokens[-1], method="POST")
        return tokens

    for caller, url in pairs[:-1]:
        mesh.eventually(caller, url, 200)
    secret_wire = Capture(mesh.lab, "secret")
    hidden = send()
    secret_wire.stop()
    expect(not secret_wire.seen(hidden), "%d of %d tokens are readable" % (secret_wire.count(hidden), len(hidden)))
    expect(secret_wire.size(capture.BETWEEN_NODES) > 4096, "the capture between the nodes is empty")
    secret_wire.remove()
    before = mesh.applications()
    without_policies(mesh)
    mesh.label("ecommerce", None)
    mesh.find("Pod", "ingress")["metadata"]["labels"].pop("istio.io/dataplane-mode")
    mesh.apply()
    for caller, url in pairs:
        mesh.eventually(caller, url, 200)
    control = Capture(mesh.lab, "control")
    shown = send()
    control.stop()
    expect(control.count(shown) == len(shown), "the control shows %d of %d tokens" % (control.count(shown), len(shown)))
    expect(control.count(shown, capture.BETWEEN_NODES) >= 1, "the control shows no token between the nodes")
    control.remove()
    mesh.reset()
    expect(mesh.applications() == before, "a pod was restarted")


@case("Both ends count a connection, with both identities and mutual TLS")
def counted(mesh):
    caller, server = "ecommerce/frontend", "ecommerce/orders"
    client_id = "spiffe://cluster.local/ns/ecommerce/sa/frontend"
    server_id = "spiffe://cluster.local/ns/ecommerce/sa/orders"
    labels = dict(source_principal=client_id, destination_principal=server_id, connection_security_policy="mutual_tls",
                  request_protocol="tcp", source_workload="frontend-v1", destination_workload="orders-v1",
                  source_workload_namespace="ecommerce", destination_workload_namespace="ecommerce",
                  destination_canonical_service="orders", destination_canonical_revision="v1")
    url = "http://%s:8080/" % mesh.ips(server)[0]
    mesh.eventually(caller, url, 200)

    def both():
        return [evidence.total(evidence.metrics(mesh.lab, mesh.node(pod)), "istio_tcp_connections_opened_total",
                               reporter=reporter, **labels) for pod, reporter in ((caller, "source"), (server, "destination"))]

    before = both()
    expect(all(g["outcome"] == 200 for g in mesh.lab.ask(caller, [{"url": url, "count": 5}])), "a request failed")
    expect([b - a for a, b in zip(before, both())] == [5, 5], "five connections were counted as %s, before %s" % (both(), before))


@case("The access log of both ends names workloads, identities, service and bytes")
def logged(mesh):
    logs = evidence.Logs(mesh.lab)
    mesh.eventually("ecommerce/frontend", "http://catalog/", 200)
    _, out = logs.wait_line("outbound", lambda n, f: f.get("direction") == "outbound" and "error" not in f)
    _, inside = logs.wait_line("inbound", lambda n, f: f.get("direction") == "inbound" and "error" not in f)
    for line in (out, inside):
        expect(line["src.identity"] == "spiffe://cluster.local/ns/ecommerce/sa/frontend" and
               line["dst.identity"] == "spiffe://cluster.local/ns/ecommerce/sa/catalog" and
               line["src.namespace"] == "ecommerce" and line["dst.workload"].startswith("catalog-"), line)
        expect(int(line["bytes_sent"]) > 0 and int(line["bytes_recv"]) > 0, line)
    expect(out["dst.service"] == "catalog.ecommerce.svc.cluster.local" and out["dst.addr"].endswith(":15008"), out)


@case("Each node's ztunnel serves exactly the pods that are in the mesh there")
def served(mesh):
    for node in fabric.NODES:
        inside = [k for k, r in mesh.lab.data["pods"].items() if r["node"] == node and matrix.in_mesh(mesh.lab, k)]
        count = evidence.total(evidence.metrics(mesh.lab, node), "workload_manager_active_proxy_count")
        expect(count == len(inside), "%s serves %d pods; in the mesh are %s" % (node, count, inside))
