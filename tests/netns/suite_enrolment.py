"""Labels come and go on running pods: into the mesh, out of it, under traffic, and who stays outside."""
import os
import secrets

from harness import Capture, case, enrolment, evidence, expect, get, monotonic, wait_for
from lab_lib import capture
from lab_lib.shell import write_file
from suite_failures import log_of

SCENARIO = "policies"
ROUNDS = 20
VANISHINGS = 5


def tokens_of(mesh, caller, url, count=4):
    """Sends that many requests and returns their tokens; all must succeed."""
    tokens = [secrets.token_hex(12) for _ in range(count)]
    for got in mesh.lab.ask(caller, [{"url": url, "headers": {"x-token": t}} for t in tokens]):
        expect(got["outcome"] == 200, "%s to %s: %s %s" % (caller, url, got["outcome"], got.get("error", "")))
    return tokens


@case("E-10-3-1: a label takes running pods into the mesh: mutual TLS, no restart, an open connection goes on")
def label_running_pods(mesh):
    mesh.label("production", None)
    mesh.eventually("production/client", "http://web.production/", 200)
    before = mesh.applications()
    ip = mesh.ips("production/httpbin")[0]
    running = mesh.connect("production/client", ip, 8080)
    expect("200" in get(running), "the plain connection does not work")
    begun = monotonic()
    mesh.label("production", "ambient")
    expect(monotonic() - begun < 10, "enrolment took %.1f s" % (monotonic() - begun))
    mesh.eventually("production/client", "http://web.production/", 200)
    wire = Capture(mesh.lab, "after")
    logs = evidence.Logs(mesh.lab)
    tokens = tokens_of(mesh, "production/client", "http://web.production/", 8)
    logs.wait_line("a tunnelled connection", lambda n, f: f.get("direction") == "inbound" and
                   f.get("src.identity") == "spiffe://cluster.local/ns/production/sa/client")
    expect("200" in get(running), "the connection that was open before was broken")
    running.close()
    wire.stop()
    expect(not wire.seen(tokens), "tokens are readable after the label")
    wire.remove()
    expect(mesh.applications() == before, "a pod was restarted")


@case("E-10-3-2: without the label traffic is plain again, without a restart")
def unlabel(mesh):
    before = mesh.applications()
    mesh.label("production", None)
    mesh.eventually("production/client", "http://web.production/", 200)
    wire = Capture(mesh.lab, "unlabelled")
    tokens = tokens_of(mesh, "production/client", "http://web.production/", 12)
    wire.stop()
    expect(wire.count(tokens) == len(tokens), "%d of %d tokens are readable" % (wire.count(tokens), len(tokens)))
    wire.remove()
    for key in (k for k in mesh.lab.data["pods"] if k.startswith("production/")):
        expect(not enrolment.rules(mesh.netns(key)), "packet rules are left in " + key)
    mesh.reset()
    expect(mesh.applications() == before, "a pod was restarted")


@case("connections of a pod that leaves the mesh end at once instead of hanging, and new ones work")
def leave_with_connections(mesh):
    mesh.eventually("production/client", "http://web.production/", 200)
    vip = mesh.find("Service", "web")["spec"]["clusterIP"]
    open_ones = [mesh.connect("production/client", *to) for to in ((mesh.ips("production/httpbin")[0], 8080), (vip, 80))]
    for connection in open_ones:
        expect("200" in get(connection), "a connection does not work before")
        connection.sendall(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
    mesh.label("production", None)
    for connection in open_ones:
        connection.settimeout(20)
        outcome = get(connection, None)
        expect("closed" in outcome and "timed out" not in outcome, "who waits for an answer: " + outcome)
        connection.close()
    mesh.eventually("production/client", "http://web.production/", 200)
    mesh.reset()


def extra_pod(name, labels="", annotations=""):
    return ("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: production, labels: {app: extra%s}%s}\n"
            "spec: {nodeName: node-a, containers: [{name: app, ports: [{containerPort: 8080}]}]}\n" % (name, labels, annotations))


@case("E-10-3-3: the annotation against sidecars does not keep a pod out of the mesh")
def sidecar_annotation(mesh):
    mesh.apply(extra_pod("no-sidecar-pod", annotations=", annotations: {sidecar.istio.io/inject: 'false'}"))
    enrolment.wait_as_labelled(mesh.lab)
    expect(enrolment.is_enrolled(mesh.netns("no-sidecar-pod")), "the pod is not redirected")
    mesh.eventually("production/no-sidecar-pod", "http://web.production/", 200)
    wire = Capture(mesh.lab, "annotated")
    tokens = tokens_of(mesh, "production/no-sidecar-pod", "http://web.production/")
    wire.stop()
    expect(not wire.seen(tokens), "its traffic is readable")
    mesh.reset()


@case("E-10-3-4: the pod label `none` keeps a pod out, and changing it takes the running pod in and out")
def opted_out(mesh):
    mesh.apply(extra_pod("loner", labels=", istio.io/dataplane-mode: none"))
    expect(enrolment.is_free(mesh.netns("loner")), "the pod is redirected")
    wire = Capture(mesh.lab, "loner")
    mesh.eventually("production/loner", "http://web.production/", 200)
    tokens = tokens_of(mesh, "production/loner", "http://web.production/", 8)
    wire.stop()
    expect(wire.count(tokens) == len(tokens), "its traffic is not plain")
    before = mesh.applications()
    mesh.apply(extra_pod("loner"))
    enrolment.wait_as_labelled(mesh.lab)
    expect(enrolment.is_enrolled(mesh.netns("loner")), "the pod is not redirected after its label went")
    mesh.eventually("production/loner", "http://web.production/", 200)
    mesh.apply(extra_pod("loner", labels=", istio.io/dataplane-mode: none"))
    enrolment.wait_as_labelled(mesh.lab)
    mesh.eventually("production/loner", "http://web.production/", 200)
    expect(mesh.applications() == before, "a pod was restarted")
    mesh.reset()


@case("a label that comes and goes %d times under traffic: no restart, no plain byte while enrolled, all plain while not" % ROUNDS)
def back_and_forth(mesh):
    before = mesh.applications()
    url = "http://web.production/"
    mesh.eventually("production/client", url, 200)
    wire = Capture(mesh.lab, "rounds")
    prefix = secrets.token_hex(8)
    load = mesh.lab.load_from("production/client", {"url": url, "prefix": prefix, "limit_s": 5})
    hidden, shown, spans = [], [], []
    enrolled_since = monotonic()
    for _ in range(ROUNDS):
        hidden += tokens_of(mesh, "production/client", url, 3)
        spans.append((enrolled_since, monotonic()))
        mesh.label("production", None)
        mesh.eventually("production/client", url, 200, times=1)
        shown += tokens_of(mesh, "production/client", url, 3)
        mesh.label("production", "ambient")
        enrolled_since = monotonic()  # enrolment has returned: from here on nothing may be readable
        hidden += tokens_of_any_outcome(mesh, url)
        mesh.eventually("production/client", url, 200, times=1)
    got = load.stop(60)
    wire.stop()
    inside = [t for t, begun, ended in got["sent"] if any(a <= begun and ended <= b for a, b in spans)]
    readable = wire.seen(hidden + inside)
    expect(not readable, "%d of %d tokens sent while enrolled are readable" % (len(readable), len(hidden + inside)))
    expect(wire.count(shown) == len(shown), "%d of %d tokens sent in between are readable" % (wire.count(shown), len(shown)))
    expect(wire.count(shown, capture.BETWEEN_NODES) >= 1, "nothing was seen between the nodes")
    expect(len(inside) >= ROUNDS, "only %d requests of the load fell into enrolled times" % len(inside))
    expect(mesh.applications() == before, "a pod was restarted")
    wire.remove()
    print("        %d requests under way, %d of them failed at the moments of change" % (len(got["sent"]), len(got["failures"])))
    # Some, on a machine that stalls; not one at each of the changes.
    expect(len(got["failures"]) < ROUNDS, "requests fail where a label changes: %s" % got["failures"][:5])


@case("the object of a running pod goes away for a moment under traffic, %d times: no byte of it is plain meanwhile" % VANISHINGS)
def object_vanishes(mesh):
    mesh.eventually("production/client", "http://web.production/", 200)
    path = os.path.join(mesh.lab.folder, "state", "cluster.yaml")
    with open(path) as handle:
        whole = handle.read()
    documents = whole.split("---\n")
    rest = [d for d in documents if "kind: Pod\n" not in d or "  name: client\n" not in d or "  namespace: production\n" not in d]
    expect(len(rest) == len(documents) - 1, "the state has %d objects of the pod" % (len(documents) - len(rest)))
    wire = Capture(mesh.lab, "vanishing")
    load = mesh.lab.load_from("production/client", {"url": "http://web.production/", "prefix": secrets.token_hex(8), "limit_s": 2})
    left = "pod left the mesh"
    try:
        for _ in range(VANISHINGS):
            begun = log_of(mesh, "node-a", "weft-agent").count(left)
            write_file(path, "---\n".join(rest))
            wait_for("the agent to forget the pod", lambda: log_of(mesh, "node-a", "weft-agent").count(left) > begun, 20)
            write_file(path, whole)
            mesh.eventually("production/client", "http://web.production/", 200, limit_s=20)
    finally:
        write_file(path, whole)
        got = load.stop(60)
    wire.stop()
    tokens = [t for t, _, _ in got["sent"]]
    expect(not wire.seen(tokens), "%d of %d tokens are readable" % (len(wire.seen(tokens)), len(tokens)))
    wire.remove()
    expect(len(tokens) >= VANISHINGS, "only %d requests were sent" % len(tokens))
    return "%d requests, %d failed, none readable" % (len(tokens), len(got["failures"]))


def tokens_of_any_outcome(mesh, url):
    """Right after enrolment a request may fail on a slow machine; but it may not be readable."""
    tokens = [secrets.token_hex(12) for _ in range(3)]
    mesh.lab.ask("production/client", [{"url": url, "headers": {"x-token": t}} for t in tokens])
    return tokens
