"""The admin pages of running node proxies: the dump names what is there, the log level changes, no secret is told."""
import base64
import json
import os
import shutil

from harness import LabError, Skip, case, evidence, expect, fabric, get, netns_path, programs, wait_for
from lab_lib.shell import run

SCENARIO = "policies"


def page(mesh, node, path, method="GET"):
    return programs.http_get(mesh.lab.prefix + node, programs.ZTUNNEL_ADMIN, path, limit_s=5, method=method)


def dump_text(mesh, node):
    status, text = page(mesh, node, "/config_dump")
    expect(status == 200, "/config_dump on %s: %s %s" % (node, status, text[:200]))
    return text


def dump(mesh, node):
    return json.loads(dump_text(mesh, node))


def state_of(mesh, pod):
    """What the pod's own node says of it."""
    namespace, name = mesh.lab.find_pod(pod).split("/")
    for state in dump(mesh, mesh.node(pod))["workloadState"].values():
        if (state["info"]["namespace"], state["info"]["name"]) == (namespace, name):
            return state
    raise LabError("the dump of %s does not name %s" % (mesh.node(pod), pod))


@case("the dump names the pods of its node, and workloads, services and policies of the whole mesh")
def pods_and_mesh(mesh):
    mesh.apply("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: some, namespace: production}\n"
               "spec: {rules: [{from: [{source: {namespaces: [production]}}]}]}\n")
    meshed = {key for key in mesh.lab.data["pods"] if not key.startswith("outside/")}
    for node in fabric.NODES:
        wait_for("the policy to arrive on " + node, lambda: "some" in [p["name"] for p in dump(mesh, node)["policies"]], 10)
        got = dump(mesh, node)
        expect(list(got) == ["workloads", "services", "policies", "stagedServices", "staticConfig", "version", "config",
                             "certificates", "workloadState"], list(got))
        up = {"%(namespace)s/%(name)s" % s["info"] for s in got["workloadState"].values() if s["state"] == "Up"}
        here = {key for key in meshed if mesh.node(key) == node}
        expect(up == here, "%s says %s are up, not %s" % (node, sorted(up), sorted(here)))
        told = {"%(namespace)s/%(name)s" % w: w for w in got["workloads"]}
        for key in mesh.lab.data["pods"]:
            expect(key in told and set(told[key]["workloadIps"]) == set(mesh.ips(key)), "%s: %s" % (key, told.get(key)))
            expect((told[key]["protocol"] == "HBONE") == (key in meshed), told[key])
        web = next(s for s in got["services"] if s["hostname"] == "web.production.svc.cluster.local")
        expect(len(web["endpoints"]) == len([k for k in told if k.startswith("production/web")]), web)
        expect(got["config"]["localNode"] == node and got["config"]["proxyArgs"] == "proxy ztunnel", got["config"])
    mesh.reset()


@case("the dump shows the certificates of its node's pods with validity and serial number, readable by openssl")
def certificates(mesh):
    for pod in ("production/web", "production/client"):
        mesh.eventually("production/client", "http://web.production/", 200)
        identity = "spiffe://cluster.local/ns/production/sa/" + pod.split("/")[1]
        held = next(c for c in dump(mesh, mesh.node(pod))["certificates"] if c["identity"] == identity)
        expect(held["state"] == "Available" and held["certChain"] and held["rootCerts"], held)
        leaf = held["certChain"][0]
        told = run(["openssl", "x509", "-noout", "-serial", "-ext", "subjectAltName"],
                   base64.b64decode(leaf["pem"]).decode()).stdout
        expect(identity in told and int(told.split("serial=")[1].split()[0], 16) == int(leaf["serialNumber"]), told)
        expect(leaf["validFrom"] < leaf["expirationTime"], leaf)


@case("an open connection is in the dumps of both its nodes, and gone from them when it is closed")
def connections(mesh):
    caller, server = "production/client", "production/web"
    address = mesh.ips(server)[0]
    sock = mesh.connect(caller, address, 8080)
    try:
        expect(get(sock) == "HTTP/1.1 200 OK", "no answer")
        own = "%s:%d" % sock.getsockname()[:2]
        out = [row for row in state_of(mesh, caller)["connections"]["outbound"] if row["src"] == own]
        expect(out == [{"src": own, "originalDst": address + ":8080", "actualDst": address + ":15008", "protocol": "HBONE"}], out)
        into = [row for row in state_of(mesh, server)["connections"]["inbound"] if row["actualDst"] == address + ":8080"]
        expect([row for row in into if row["protocol"] == "HBONE" and evidence.host_of(row["src"]) in mesh.ips(caller)], into)
    finally:
        sock.close()
    wait_for("the connection to leave the dump", lambda: own not in dump_text(mesh, mesh.node(caller)), 5)


@case("no dump holds a private key, the token of its node, or the path to it")
def no_secrets(mesh):
    for node in fabric.NODES:
        text = dump_text(mesh, node)
        with open(os.path.join(mesh.lab.folder, fabric.CONTROL, "tokens", node), encoding="utf-8") as handle:
            token = handle.read().strip()
        for secret in ("PRIVATE KEY", base64.b64encode(b"-----BEGIN PRIVATE KEY").decode()[:28],
                       base64.b64encode(b"-----BEGIN EC PRIVATE KEY").decode()[:28], token, "/tokens/"):
            expect(secret not in text, "the dump of %s holds %r" % (node, secret[:30]))


@case("POST /logging shows, changes and restores the log level of a running proxy, and refuses what is none")
def logging(mesh):
    caller, url = "production/client", "http://web.production/"
    node = mesh.node(caller)

    def said(query):
        return page(mesh, node, "/logging" + query, "POST")

    def opened(logs):
        return [f for n, f in logs.lines() if n == node and f["message"] == "connection opened"]

    start = said("")[1]
    expect(start == "current log level is hickory_server::server=off,info\n", start)
    try:
        expect(said("?level=access=debug") == (200, "current log level is hickory_server::server=off,access=debug,info\n"), said(""))
        logs = evidence.Logs(mesh.lab)
        mesh.eventually(caller, url, 200)
        wait_for("lines at debug", lambda: opened(logs), 5)
        status, text = said("?level=loud")
        expect(status == 400 and text.startswith("Invalid level provided: loud\n"), (status, text))
    finally:
        expect(said("?reset") == (200, start), said(""))
    logs = evidence.Logs(mesh.lab)
    mesh.eventually(caller, url, 200)
    logs.wait_line("the request", lambda n, f: n == node and f["message"] == "connection complete")
    expect(not opened(logs), "debug lines after the reset")
    expect(page(mesh, node, "/logging")[0] == 405, "GET /logging changes nothing")


@case("no pod reaches an admin page of any node, and the proxies leave no core dump")
def out_of_reach(mesh):
    for node in fabric.NODES:
        expect(page(mesh, node, "/")[0] == 200, "the control: the page answers on the node itself")
        with open("/proc/%d/limits" % mesh.lab.process("ztunnel on " + node).pid, encoding="utf-8") as handle:
            core = next(line for line in handle if line.startswith("Max core file size"))
        expect(core.split()[4:6] == ["0", "0"], core)
    for address in [a for node in fabric.NODES for a in fabric.ADDRESS[node]] + ["127.0.0.1", "::1"]:
        for caller in ("production/client", "outside/plain"):
            try:
                answer = get(mesh.connect(caller, address, programs.ZTUNNEL_ADMIN, limit_s=2))
            except OSError as problem:
                answer = "closed (%s)" % problem
            expect(answer.startswith("closed"), "%s reached %s: %s" % (caller, address, answer))


@case("the index page lists the others, an unknown path is 404, a refused request is counted")
def index(mesh):
    node = fabric.NODES[0]
    status, text = page(mesh, node, "/")
    expect(status == 200 and "config_dump" in text and "logging" in text, (status, text))
    expect(page(mesh, node, "/debug/none")[0] == 404, "an unknown path")

    def refused():
        return evidence.total(evidence.metrics(mesh.lab, node), "weft_http_refused_requests_total", server="admin")

    before = refused()
    expect(page(mesh, node, "/" + "x" * 20000)[0] in (0, 414, 431), "a head of 20,000 bytes")
    wait_for("the counter of refused requests to move", lambda: refused() > before, 5)


def numbers(mesh, part, port):
    status, text = programs.http_get(mesh.lab.prefix + part, port, "/metrics", limit_s=5)
    expect(status == 200, "/metrics of %s on %s: %s %s" % (port, part, status, text[:200]))
    return text


@case("promtool finds no fault with the numbers of the node proxy, the node agent and the authority")
def promtool(mesh):
    if not shutil.which("promtool"):
        raise Skip("promtool is not installed (Debian: prometheus)")
    mesh.eventually("production/client", "http://web.production/", 200)
    pages = [(node, port) for node in fabric.NODES for port in (programs.ZTUNNEL_STATS, programs.AGENT_METRICS)]
    for part, port in pages + [(fabric.CONTROL, programs.CA_STATUS_PORT)]:
        text = numbers(mesh, part, port)
        expect(text.count("\n# TYPE ") > 3 and text.endswith("# EOF\n"), text[:500])
        done = run(["promtool", "check", "metrics"], data=text, check=False)
        expect(done.returncode == 0, "promtool exits %d for port %d on %s: %s%s"
               % (done.returncode, port, part, done.stdout, done.stderr))
    broken = numbers(mesh, fabric.NODES[0], programs.ZTUNNEL_STATS).replace("# HELP istio_build ", "# HULP istio_build ")
    done = run(["promtool", "check", "metrics"], data=broken, check=False)
    expect(done.returncode == 3 and "istio_build" in done.stdout + done.stderr, "promtool finds no fault with anything")


@case("curl --compressed gets the same pages for a fraction of the bytes, as gzip and as deflate")
def compressed(mesh):
    mesh.eventually("production/client", "http://web.production/", 200)
    node = mesh.node("production/client")

    def fetch(port, path, *more):
        """(coding, bytes on the wire, text)"""
        done = run(["nsenter", "--net=" + netns_path(mesh.lab.prefix + node), "--", "curl", "-sS", "-D", "/dev/stderr", "-w",
                    "\n%{size_download}", *more, "http://127.0.0.1:%d%s" % (port, path)])
        text, _, size = done.stdout.rpartition("\n")
        coding = [line.split(":")[1].strip() for line in done.stderr.splitlines() if line.startswith("content-encoding:")]
        return (coding or [""])[0], int(size), text

    for port, path, word in ((programs.ZTUNNEL_STATS, "/metrics", "# EOF"), (programs.ZTUNNEL_ADMIN, "/config_dump", "workloads")):
        plain = fetch(port, path)
        expect(plain[0] == "" and plain[1] == len(plain[2].encode()) and word in plain[2], plain[:2])
        for coding, more in (("gzip", []), ("deflate", ["-H", "accept-encoding: deflate"])):
            got = fetch(port, path, "--compressed", *more)
            expect(got[0] == coding and got[1] < plain[1] / 3, "%s of %s: %s" % (coding, path, got[:2]))
            expect(word in got[2] and abs(len(got[2]) - len(plain[2])) < len(plain[2]) / 10, "%s: another text" % path)
