"""The node proxies themselves as members of the mesh: their statistics are read through the tunnel port of their own
namespace, with their own identity, and policies decide who may.

What the lab does not have and a cluster does, this suite adds to the state folder: a pod for each node's proxy."""
import json
import os
import socket

from harness import case, evidence, expect, fabric, get, programs, wait_for

SCENARIO = "policies"
STATS = programs.ZTUNNEL_STATS
IDENTITY = "spiffe://cluster.local/ns/istio-system/sa/ztunnel"
POD = """apiVersion: v1
kind: Pod
metadata:
  name: ztunnel-%(node)s
  namespace: istio-system
  uid: own-pod-of-%(node)s
  labels: {app: ztunnel, istio.io/dataplane-mode: none, networking.istio.io/tunnel: http}
  ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: ztunnel, uid: d, controller: true}]
spec: {nodeName: %(node)s, serviceAccountName: ztunnel, containers: [{name: istio-proxy}]}
status: {phase: Running, podIP: %(ip)s, podIPs: [{ip: %(ip)s}], conditions: [{type: Ready, status: "True"}]}
"""
POLICY = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: %s, namespace: %s}
spec: {action: DENY, rules: [{from: [{source: {namespaces: [%s]}}]}]}
"""


def address(node):
    return fabric.ADDRESS[node][0]


def have_pods(mesh):
    """The proxies' pods are in the state folder, and every node knows them."""
    path = os.path.join(mesh.lab.folder, "state", "ztunnel.yaml")
    if not os.path.exists(path):
        with open(path + ".new", "w") as handle:
            handle.write("---\n".join(POD % {"node": node, "ip": address(node)} for node in fabric.NODES))
        os.replace(path + ".new", path)
    for node in fabric.NODES:
        wait_for("%s to hold its own certificate" % node, lambda: holds_certificate(mesh, node), 10)


def holds_certificate(mesh, node):
    status, text = programs.http_get(mesh.lab.prefix + node, programs.ZTUNNEL_ADMIN, "/config_dump", limit_s=5)
    got = json.loads(text) if status == 200 else {"certificates": []}
    return any(c["identity"] == IDENTITY and c["state"] == "Available" for c in got["certificates"])


def scrape(mesh, caller, node):
    """The status line of one scrape, "closed" when it is refused, and the caller's own address."""
    try:
        sock = mesh.connect(caller, address(node), STATS)
    except ConnectionResetError:  # refused before connect() has returned
        return "closed", ""
    try:
        own = "%s:%d" % sock.getsockname()[:2]
        return get(sock, "/metrics"), own
    finally:
        sock.close()


def counted(mesh, node, **labels):
    return evidence.total(evidence.metrics(mesh.lab, node), "istio_tcp_connections_opened_total", reporter="destination", **labels)


@case("before the mesh knows the proxies' pods, their statistics are read in plain text")
def plain_before(mesh):
    for node in fabric.NODES:
        before = counted(mesh, node, connection_security_policy="mutual_tls", destination_canonical_service="ztunnel")
        expect(scrape(mesh, "production/client", node)[0] == "HTTP/1.1 200 OK", "no plain scrape of " + node)
        after = counted(mesh, node, connection_security_policy="mutual_tls", destination_canonical_service="ztunnel")
        expect(before == after == 0, "a tunnel to a proxy that the mesh does not know")


@case("statistics are read through the proxy's own tunnel port, with labels, identities and the tunnel's address, on every node")
def through_tunnel(mesh):
    have_pods(mesh)
    for node in fabric.NODES:
        logs = evidence.Logs(mesh.lab)
        status, _ = scrape(mesh, "production/client", node)
        expect(status == "HTTP/1.1 200 OK", "%s: %s" % (node, status))
        for direction, where in (("inbound", node), ("outbound", mesh.node("production/client"))):
            _, line = logs.wait_line("%s scrape of %s" % (direction, node), lambda n, f: n == where and
                                     f.get("direction") == direction and f.get("dst.workload") == "ztunnel-" + node)
            wanted = {"dst.hbone_addr": "%s:%d" % (address(node), STATS), "dst.addr": address(node) + ":15008",
                      "dst.identity": IDENTITY, "dst.namespace": "istio-system",
                      "src.identity": "spiffe://cluster.local/ns/production/sa/client", "src.workload":
                      mesh.lab.find_pod("production/client").split("/")[1], "message": "connection complete"}
            expect({k: line.get(k) for k in wanted} == wanted and "error" not in line, line)
        labels = {"connection_security_policy": "mutual_tls", "destination_principal": IDENTITY,
                  "source_principal": wanted["src.identity"], "destination_workload": "ztunnel",
                  "destination_canonical_service": "ztunnel", "destination_workload_namespace": "istio-system",
                  "source_workload_namespace": "production", "response_flags": "-"}
        expect(counted(mesh, node, **labels) == 1, "the scrape of %s is not counted once" % node)


@case("a policy on the proxies denies one caller their statistics and lets the other read them")
def policies(mesh):
    have_pods(mesh)
    mesh.apply(POLICY % ("no-staging", "istio-system", "staging"))
    try:
        def denied():
            return scrape(mesh, "staging/tester", "node-a")[0].startswith("closed")

        wait_for("the policy to be obeyed", denied, 10)
        logs = evidence.Logs(mesh.lab)
        expect(denied(), "let in again")
        logs.wait_line("the refusal", lambda n, f: n == "node-a" and f.get("dst.workload") == "ztunnel-node-a" and
                       "explicitly denied by: istio-system/no-staging" in f.get("error", ""))
        expect(scrape(mesh, "production/client", "node-a")[0] == "HTTP/1.1 200 OK", "the other caller is denied as well")
    finally:
        mesh.reset()


@case("a policy that comes later ends no open connection to a proxy, and does end one to a pod")
def not_judged_again(mesh):
    have_pods(mesh)
    to_proxy = mesh.connect("production/client", address("node-b"), STATS)
    to_pod = mesh.connect("production/client", mesh.ips("production/httpbin")[0], 8080)
    try:
        expect(get(to_proxy, "/metrics") == get(to_pod) == "HTTP/1.1 200 OK", "no answer before the policy")
        mesh.apply(POLICY % ("none", "istio-system", "production"))
        wait_for("new connections to be denied", lambda: get(to_pod).startswith("closed"), 10)
        expect(scrape(mesh, "production/client", "node-b")[0].startswith("closed"), "a new connection to the proxy is let in")
        expect(get(to_proxy, "/metrics") == "HTTP/1.1 200 OK", "the open connection to the proxy was ended")
    finally:
        to_proxy.close()
        to_pod.close()
        mesh.reset()


@case("the proxy's tunnel port answers nobody without a certificate, and nothing else of a pod's ports is open beside it")
def strangers(mesh):
    have_pods(mesh)
    for node in fabric.NODES:
        sock = mesh.connect("outside/plain", address(node), 15008)
        expect(get(sock).startswith("closed"), "plain text on 15008 was answered")
        sock.close()
        for port in (15001, 15006, programs.ZTUNNEL_ADMIN):
            try:
                mesh.connect("outside/plain", address(node), port).close()
            except ConnectionRefusedError:
                continue
            except socket.timeout:
                pass
            raise AssertionError("%s port %d does not refuse" % (node, port))
        sock = mesh.connect("outside/plain", address(node), STATS)
        expect(get(sock, "/metrics") == "HTTP/1.1 200 OK", "no plain scrape from outside the mesh")
        sock.close()
