"""Policies as ztunnel enforces them: strictness by workload and port, isolation by namespace, deny by default."""
from harness import case, evidence, expect, fabric, get, monotonic, programs
from lab_lib.shell import stop_all

SCENARIO = "policies"
NOT_ALLOWED = "allow policies exist, but none allowed"
NO_IDENTITY = "explicitly denied by: istio-system/istio_converted_static_strict"


def peer_authentication(mode, name="default", namespace="production", more=""):
    return ("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: %s, namespace: %s}\n"
            "spec: {mtls: {mode: %s}%s}\n" % (name, namespace, mode, more))


def policy(name, namespace, spec):
    return ("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: %s, namespace: %s}\nspec: %s\n"
            % (name, namespace, spec))


@case("E-04-1-1: under STRICT a mesh client reaches every pod, and the server's side sees the client's identity")
def strict_mesh_client(mesh):
    mesh.apply(peer_authentication("STRICT"))
    mesh.refused("outside/plain", "http://web.production/", NO_IDENTITY)
    every_pod_sees(mesh, "production/client", "spiffe://cluster.local/ns/production/sa/client")
    mesh.reset()


def every_pod_sees(mesh, caller, identity):
    """The caller reaches every server of production, whose side logs that identity."""
    for pod in [k for k in mesh.lab.data["pods"] if k.startswith(("production/web", "production/httpbin"))]:
        for ip in mesh.ips(pod):
            logs = evidence.Logs(mesh.lab)
            mesh.eventually(caller, "http://%s:8080/" % ("[%s]" % ip if ":" in ip else ip), 200)
            node, line = logs.wait_line("inbound at " + pod, lambda n, f: f.get("direction") == "inbound" and "error" not in f
                                        and f.get("dst.workload") == pod.split("/")[1])
            expect(node == mesh.node(pod) and line["src.identity"] == identity, line)


@case("E-04-1-2: under STRICT plain text gets no byte of an answer; the refusal is logged and counted with its policy's name")
def strict_plain_client(mesh):
    mesh.apply(peer_authentication("STRICT"))
    for url in ("http://web.production/", "http://httpbin.production:9000/", "http://%s:8080/" % mesh.ips("production/client")[0],
                "http://[%s]:8080/" % mesh.ips("production/httpbin")[1]):
        mesh.refused("outside/plain", url, NO_IDENTITY)
    mesh.apply(without=["PeerAuthentication/default"])
    mesh.eventually("outside/plain", "http://web.production/", 200)
    mesh.reset()


PORT_EXCEPTION = peer_authentication("STRICT", "httpbin-mtls", more=", selector: {matchLabels: {app: httpbin}}, "
                                     "portLevelMtls: {9000: {mode: DISABLE}}")


@case("E-04-1-3, 4, 5: a port where mutual TLS is disabled takes plain text and mesh clients; the others take no plain text")
def port_exception(mesh):
    mesh.apply(PORT_EXCEPTION)
    mesh.refused("outside/plain", "http://httpbin.production/", "production/converted_peer_authentication_httpbin-mtls")
    mesh.eventually("outside/plain", "http://httpbin.production:9000/", 200)
    mesh.eventually("production/client", "http://httpbin.production:9000/", 200)
    mesh.eventually("production/client", "http://httpbin.production/", 200)
    mesh.apply(without=["PeerAuthentication/httpbin-mtls"])
    mesh.eventually("outside/plain", "http://httpbin.production/", 200)
    mesh.reset()


@case("E-04-1-6: a probe from the node reaches its pods under STRICT, over IPv4 and IPv6")
def probes(mesh):
    mesh.apply(peer_authentication("STRICT"))
    mesh.refused("outside/plain", "http://web.production/", NO_IDENTITY)
    probe_every_pod(mesh)
    mesh.reset()


def probe_every_pod(mesh):
    for pod in [k for k in mesh.lab.data["pods"] if k.startswith("production/")]:
        for ip in mesh.ips(pod):
            status, text = programs.http_get(mesh.lab.prefix + mesh.node(pod), 8080, "/", host=ip)
            expect(status == 200, "a probe of %s at %s gave %s %s" % (pod, ip, status, text))


ISOLATION = policy("namespace-isolation", "production", """{rules: [
  {from: [{source: {namespaces: [production, trusted]}}]}, {to: [{operation: {methods: [GET, POST]}}]}]}""")


@case("E-04-3-1, 2: clients of the listed namespaces are allowed, others closed; a rule that needs HTTP admits nobody")
def isolation(mesh):
    mesh.apply(ISOLATION)
    mesh.refused("staging/tester", "http://web.production/", NOT_ALLOWED)
    mesh.eventually("production/client", "http://web.production/", 200)
    mesh.eventually("trusted/friend", "http://web.production/", 200)
    mesh.apply(without=["AuthorizationPolicy/namespace-isolation"])
    mesh.eventually("staging/tester", "http://web.production/", 200)
    mesh.reset()


@case("E-08-1-1: PERMISSIVE lets plain text and mesh clients in, and a label tells them apart")
def permissive(mesh):
    mesh.apply(peer_authentication("PERMISSIVE"))
    count_both_kinds(mesh)
    mesh.reset()


def count_both_kinds(mesh):
    """Plain text and a mesh client both reach httpbin, and its numbers tell them apart."""
    target = "http://%s:8080/" % mesh.ips("production/httpbin")[0]

    def counts():
        samples = evidence.metrics(mesh.lab, mesh.node("production/httpbin"))
        return [evidence.total(samples, "istio_tcp_connections_opened_total", reporter="destination",
                               destination_workload="httpbin", connection_security_policy=word)
                for word in ("mutual_tls", "unknown")]

    mesh.eventually("production/client", target, 200)
    mesh.eventually("outside/plain", target, 200)
    before = counts()
    mesh.lab.ask("production/client", [{"url": target, "count": 3}])
    mesh.lab.ask("outside/plain", [{"url": target, "count": 2}])
    expect([b - a for a, b in zip(before, counts())] == [3, 2], "3 and 2 connections became %s from %s" % (counts(), before))


@case("E-08-1-2: PERMISSIVE becomes STRICT under load: no mesh request fails, plain text is closed within two seconds")
def permissive_to_strict(mesh):
    mesh.apply(peer_authentication("PERMISSIVE"))
    strict_under_load(mesh, lambda: mesh.apply(peer_authentication("STRICT")))
    mesh.reset()


def strict_under_load(mesh, make_strict):
    mesh.eventually("outside/plain", "http://web.production/", 200)
    ip = mesh.ips("production/httpbin")[0]
    mesh.eventually("outside/plain", "http://%s:8080/" % ip, 200)
    old = mesh.connect("outside/plain", ip, 8080)
    expect("200" in get(old), "the old plain connection does not work")
    load = mesh.lab.load_from("production/client", {"url": "http://web.production/", "prefix": "m-"})
    make_strict()
    patched = monotonic()
    mesh.eventually("outside/plain", "http://web.production/", "closed", limit_s=2)
    mesh.eventually("outside/plain", "http://%s:8080/" % ip, "closed", limit_s=2)
    expect(monotonic() - patched < 5, "it took %.1f s" % (monotonic() - patched))
    answer = get(old)
    old.close()
    expect(answer.startswith("closed"), "the old plain connection still answered: " + answer)
    got = load.stop()
    expect(got["sent"] and not got["failures"], "%d of %d mesh requests failed: %s"
           % (len(got["failures"]), len(got["sent"]), got["failures"][:3]))


HARDENING = policy("default-deny-all", "production", "{}") + "---\n" + policy(
    "allow-within-namespace", "production", "{rules: [{from: [{source: {namespaces: [production]}}]}]}")


@case("E-08-4-1, 2, 3, 4: deny by default with an exception for the namespace itself")
def hardening(mesh):
    mesh.apply(HARDENING)
    for caller in ("staging/tester", "trusted/friend", "istio-system/gateway", "outside/plain"):
        mesh.refused(caller, "http://web.production/", NOT_ALLOWED)
    mesh.eventually("production/client", "http://web.production/", 200)
    mesh.apply(without=["AuthorizationPolicy/allow-within-namespace"])
    mesh.refused("production/client", "http://web.production/", NOT_ALLOWED)
    mesh.apply(without=["AuthorizationPolicy/default-deny-all"])
    for caller in ("staging/tester", "istio-system/gateway", "outside/plain"):
        mesh.eventually(caller, "http://web.production/", 200)
    mesh.reset()


@case("E-08-4-5: a mesh pod reaches an address outside the cluster, in spite of deny-by-default and a Sidecar object")
def outside_address(mesh):
    mesh.apply(HARDENING + "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, "
               "namespace: production}\nspec: {egress: [{hosts: ['./*', 'istio-system/*']}]}\n")
    reach_outside(mesh, "production/client")
    mesh.reset()


def reach_outside(mesh, caller):
    """Port 443 of a machine that is no pod and no node."""
    server = mesh.lab.programs().start(fabric.CONTROL, "outside-server", [
        "/usr/bin/python3", "-SEs", "-m", "http.server", "443", "--bind", "::"])
    try:
        for ip in fabric.ADDRESS[fabric.CONTROL]:
            mesh.eventually(caller, "http://%s:443/" % ("[%s]" % ip if ":" in ip else ip), 200)
    finally:
        stop_all([server])
        mesh.lab.stop_process(server.name)


@case("a policy that comes closes a live connection that it forbids, and leaves the one that it allows")
def live_connections(mesh):
    ip = mesh.ips("production/httpbin")[0]
    for caller in ("staging/tester", "production/client"):
        mesh.eventually(caller, "http://%s:8080/" % ip, 200)
    doomed, kept = mesh.connect("staging/tester", ip, 8080), mesh.connect("production/client", ip, 8080)
    expect("200" in get(doomed) and "200" in get(kept), "a connection does not work")
    mesh.apply(ISOLATION)
    mesh.eventually("staging/tester", "http://%s:8080/" % ip, "closed")
    expect(get(doomed).startswith("closed"), "a connection that the policy forbids still answers")
    expect("200" in get(kept), "a connection that the policy allows was closed")
    doomed.close()
    kept.close()
    mesh.reset()


@case("a DENY policy for a port names itself in the refusal and leaves other ports alone")
def deny_port(mesh):
    mesh.apply(policy("no-9000", "production", "{action: DENY, selector: {matchLabels: {app: httpbin}}, "
                      "rules: [{to: [{operation: {ports: ['9000']}}]}]}"))
    mesh.refused("production/client", "http://httpbin.production:9000/", "explicitly denied by: production/no-9000")
    mesh.eventually("production/client", "http://httpbin.production/", 200)
    mesh.reset()
