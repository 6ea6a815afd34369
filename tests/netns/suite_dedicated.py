"""Dedicated mode: a proxy for one workload beside it in its own network namespace, without a node agent; and how a proxy process
starts and ends.

Two pods outside the agent's care get the agent's packet rules from their golden file and a proxy each, on two nodes."""
import json
import os
import signal
import socket

from harness import REPOSITORY, Capture, case, evidence, expect, get, netns_path, objects_of, programs, wait_for
from lab_lib.shell import Process, in_netns, run

RULES = os.path.join(REPOSITORY, "cni-plugin", "redirect", "golden", "dual.nft")
OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: machines}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Namespace
metadata: {name: outside}
"""
POD = """---
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s, labels: {app: %s%s}}
spec: {nodeName: %s, serviceAccountName: %s, containers: [{name: app, ports: [{containerPort: 8080}]}]}
"""
TUNNELS = ", networking.istio.io/tunnel: http"
DENY = """apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: not-them, namespace: machines}
spec: {action: DENY, selector: {matchLabels: {app: server}}, rules: [{from: [{source: {principals: [%s]}}]}]}
"""
PAIR = (("machines/client", "node-a"), ("machines/server", "node-b"))
READY_S, END_S = 20, 5


def objects():
    pods = [("client", "machines", TUNNELS, "node-a"), ("server", "machines", TUNNELS, "node-b"),
            ("spare", "machines", TUNNELS, "node-a"), ("member", "shop", "", "node-a"), ("plain", "outside", "", "node-b")]
    return objects_of(OBJECTS + "".join(POD % (n, ns, n, labels, node, n) for n, ns, labels, node in pods))


# ------------------------------------------------------------------ proxies
def log_of(mesh, pod):
    return os.path.join(mesh.lab.folder, "dedicated-%s.log" % pod.split("/")[1])


def redirect(mesh, pod):
    """The rules and the route of replies, as the node agent installs them."""
    def inside(*argv):
        run(["nsenter", "--net=" + netns_path(mesh.netns(pod)), "--", *argv])

    inside("nft", "-f", RULES)
    for family, everything in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        if "lookup 100" not in run(["ip", family, "-n", mesh.netns(pod), "rule"]).stdout:
            inside("ip", family, "rule", "add", "fwmark", "0x111/0xfff", "pref", "32764", "lookup", "100")
            inside("ip", family, "route", "add", "local", everything, "dev", "lo", "table", "100")


def launch(mesh, pod, **env):
    namespace, name = pod.split("/")
    parts = mesh.lab.programs()
    settings = {
        "PROXY_MODE": "dedicated", "PROXY_WORKLOAD_INFO": "%s/%s/%s" % (namespace, name, name), "PACKET_MARK": "1337",
        "NODE_NAME": mesh.node(pod), "XDS_ADDRESS": "", "MANIFEST_DIR": parts.state, "ZTUNNEL_WORKER_THREADS": "2",
        "CA_ADDRESS": "https://%s:%d" % (programs.fabric.ADDRESS["control"][0], programs.CA_PORT),
        "CA_ROOT_CA": os.path.join(parts.ca_folder, "root-cert.pem"),
        "AUTH_TOKEN": os.path.join(parts.tokens, mesh.node(pod))}
    settings.update(programs.ENGINES[parts.engine][0] if parts.engine else {})
    settings.update(env)
    process = Process.start("dedicated " + pod, ["nsenter", "--net=" + netns_path(mesh.netns(pod)), "--",
                                                 programs.find(mesh.lab.data["build"], "ztunnel")],
                            log_of(mesh, pod), env=programs.base_env(settings))
    mesh.lab.keep(process)
    return process


def start(mesh, pod, **env):
    """A proxy that says it is ready."""
    redirect(mesh, pod)
    process = launch(mesh, pod, **env)
    wait_for("the proxy of %s to be ready" % pod, lambda: page(mesh, pod, "/healthz/ready", programs.ZTUNNEL_READY)[0] == 200,
             READY_S, "read " + process.log, process.check_alive)
    return process


def pair(mesh):
    for pod, _ in PAIR:
        if not mesh.lab.process("dedicated " + pod):
            start(mesh, pod)


def forget(mesh, process):
    """The lab no longer expects it to run."""
    mesh.lab.data["processes"] = [p for p in mesh.lab.data["processes"] if p["pid"] != process.pid]
    mesh.lab.save()


def ended(mesh, process, limit_s=END_S):
    """Its exit code, which a signal makes negative; fails when it goes on."""
    wait_for("the end of " + process.name, lambda: not process.alive(), limit_s, "read " + process.log)
    forget(mesh, process)
    return process.exit_code()


def ended_well(mesh, process):
    code = ended(mesh, process)
    expect(code == 0, "%s ended with %s" % (process.name, code))


def page(mesh, pod, path, port, method="GET"):
    return programs.http_get(mesh.netns(pod), port, path, limit_s=5, method=method)


def samples(mesh, pod):
    status, text = page(mesh, pod, "/metrics", programs.ZTUNNEL_STATS)
    expect(status == 200, "no numbers of %s: %s" % (pod, text))
    return evidence.parse_metrics(text)


def access(mesh, pod, since, test):
    def find():
        with open(log_of(mesh, pod), errors="replace") as handle:
            handle.seek(since)
            return next((f for f in map(evidence.parse_access, handle) if f and test(f)), None)

    return wait_for("an access-log line of " + pod, find, 5, "read " + log_of(mesh, pod))


def size_of_log(mesh, pod):
    return os.path.getsize(log_of(mesh, pod))


def url(mesh, pod):
    return "http://%s:8080/" % mesh.ips(pod)[0]


# ------------------------------------------------------------------ traffic
@case("a captured connection between two dedicated proxies crosses the nodes as mutual TLS and keeps the caller's address")
def across_nodes(mesh):
    pair(mesh)
    wire = Capture(mesh.lab, "dedicated")
    since = {pod: size_of_log(mesh, pod) for pod, _ in PAIR}
    tokens = ["token-%d-%s" % (i, os.urandom(8).hex()) for i in range(4)]
    for token in tokens:
        got = mesh.ask("machines/client", url(mesh, "machines/server"), headers={"x-token": token})
        expect(got["outcome"] == 200 and got["body"]["pod"] == "server", got)
        expect(got["body"]["peer"] == mesh.ips("machines/client")[0], "the caller came as " + got["body"]["peer"])
    wire.stop()
    expect(wire.count(tokens) == 0, "a request crossed the nodes in plain text")
    wire.remove()
    ip = mesh.ips("machines/server")[0]
    for pod, direction in (("machines/client", "outbound"), ("machines/server", "inbound")):
        line = access(mesh, pod, since[pod], lambda f: f.get("direction") == direction)
        wanted = {"src.identity": "spiffe://cluster.local/ns/machines/sa/client", "dst.hbone_addr": ip + ":8080",
                  "dst.identity": "spiffe://cluster.local/ns/machines/sa/server", "dst.addr": ip + ":15008"}
        expect({k: line.get(k) for k in wanted} == wanted and "error" not in line, line)
    for pod, reporter in (("machines/client", "source"), ("machines/server", "destination")):
        expect(evidence.total(samples(mesh, pod), "istio_tcp_connections_opened_total", reporter=reporter,
                              connection_security_policy="mutual_tls") >= 4, "not counted at " + pod)


@case("a dedicated proxy and pods of a shared one reach each other in tunnels, and a stranger comes in plain text")
def with_others(mesh):
    pair(mesh)
    for caller, target, port_of in (("shop/member", "machines/server", "machines/server"),
                                    ("machines/client", "shop/member", "shop/member")):
        expect(mesh.ask(caller, url(mesh, target))["outcome"] == 200, "%s does not reach %s" % (caller, target))
        dump = json.loads(page(mesh, "machines/client", "/config_dump", programs.ZTUNNEL_ADMIN)[1])
        told = next(w for w in dump["workloads"] if mesh.ips(port_of)[0] in w["workloadIps"])
        expect(told["protocol"] == "HBONE", told)
    own = samples(mesh, "machines/client")
    expect(evidence.total(own, "istio_tcp_connections_opened_total", reporter="source", destination_workload="member",
                          connection_security_policy="mutual_tls") == 1, "no tunnel to the shared proxy's pod")
    into = samples(mesh, "machines/server")
    expect(evidence.total(into, "istio_tcp_connections_opened_total", reporter="destination", source_workload="member",
                          connection_security_policy="mutual_tls") == 1, "no tunnel from the shared proxy's pod")
    expect(mesh.ask("outside/plain", url(mesh, "machines/server"))["outcome"] == 200, "plain text is refused without a policy")
    expect(evidence.total(samples(mesh, "machines/server"), "istio_tcp_connections_opened_total", reporter="destination",
                          source_workload="plain", connection_security_policy="unknown") == 1, "not seen as plain text")


@case("a DENY policy refuses the named caller at a dedicated proxy and nobody else, and goes away again")
def deny(mesh):
    pair(mesh)
    mesh.apply(DENY % "cluster.local/ns/machines/sa/client")
    try:
        mesh.eventually("machines/client", url(mesh, "machines/server"), "closed")
        since = size_of_log(mesh, "machines/server")
        expect(mesh.ask("machines/client", url(mesh, "machines/server"))["outcome"] == "closed", "let in again")
        line = access(mesh, "machines/server", since, lambda f: "error" in f)
        expect("explicitly denied by: machines/not-them" in line["error"] and line["direction"] == "inbound", line)
        expect(evidence.total(samples(mesh, "machines/server"), "istio_tcp_connections_closed_total", reporter="destination",
                              response_flags="DENY") >= 1, "the refusal is not counted")
        expect(mesh.ask("shop/member", url(mesh, "machines/server"))["outcome"] == 200, "another caller is refused too")
    finally:
        mesh.apply(without=["AuthorizationPolicy/not-them"])
    mesh.eventually("machines/client", url(mesh, "machines/server"), 200)


@case("a dedicated proxy asks for its own certificate alone, knows no agent, and its dump says what it is")
def own_only(mesh):
    pair(mesh)
    mesh.eventually("machines/client", url(mesh, "machines/server"), 200)
    dump = json.loads(page(mesh, "machines/client", "/config_dump", programs.ZTUNNEL_ADMIN)[1])
    expect([c["identity"] for c in dump["certificates"]] == ["spiffe://cluster.local/ns/machines/sa/client"],
           [c["identity"] for c in dump["certificates"]])
    expect("workloadState" not in dump and dump["config"]["proxyMode"] == "Dedicated", dump["config"])
    expect(dump["config"]["proxyWorkloadInformation"] ==
           {"name": "client", "namespace": "machines", "serviceAccount": "client"}, dump["config"])
    names = {name for name, _, _ in samples(mesh, "machines/client")}
    expect(not any(name.startswith("workload_manager_") for name in names), "numbers of a pod manager without one")
    with open(log_of(mesh, "machines/client")) as handle:
        expect("ztunnel.sock" not in handle.read(), "it looked for an agent")


@case("every worker of a dedicated proxy listens, unmarked; a shared proxy's sockets in a pod are marked")
def listeners(mesh):
    pair(mesh)

    def sockets(pod, port):
        listed = run(["nsenter", "--net=" + netns_path(mesh.netns(pod)), "--", "ss", "-Hltne", "sport = :%d" % port]).stdout
        return [line for line in listed.splitlines() if line.strip()]

    for port in (15001, 15006, 15008):
        found = sockets("machines/server", port)
        expect(len(found) == 2, "%d sockets on %d: %s" % (len(found), port, found))
        expect(not any("fwmark" in line for line in found), "a listener is marked: %s" % found)
        shared = sockets("shop/member", port)
        expect(len(shared) == 1 and "fwmark:0x539" in shared[0], "control: %s" % shared)
    before = threads(mesh, "machines/server")
    for _ in range(40):
        expect(mesh.ask("outside/plain", url(mesh, "machines/server"))["outcome"] == 200, "a connection failed")
    after = threads(mesh, "machines/server")
    idle = [name for name in after if after[name] == before[name]]
    expect(len(after) == 2 and not idle, "workers without work: %s of %s" % (idle, sorted(after)))


def threads(mesh, pod):
    """How often each worker has gone to sleep, by name: it does so after each piece of work."""
    pid, found = mesh.lab.process("dedicated " + pod).pid, {}
    for thread in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, thread)) as handle:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in handle if ":\t" in line)
        if fields["Name"].startswith("ztunnel-"):
            found[fields["Name"]] = int(fields["voluntary_ctxt_switches"])
    return found


@case("one TCP connection counts as one opened and one closed, the sockets go back to none, and bytes are exact")
def exact_numbers(mesh):
    process = start(mesh, "machines/spare")
    sock = mesh.connect("machines/spare", mesh.ips("outside/plain")[0], 8080)
    request = b"GET /bytes/12345 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    sock.sendall(request)
    received = 0
    while part := sock.recv(65536):
        received += len(part)
    sock.close()

    def open_now():
        return evidence.total(samples(mesh, "machines/spare"), "istio_tcp_sockets_open")

    wait_for("no open sockets", lambda: open_now() == 0, 5)
    got = samples(mesh, "machines/spare")
    for name, wanted in (("connections_opened", 1), ("connections_closed", 1), ("received_bytes", len(request)),
                         ("sent_bytes", received)):
        expect(evidence.total(got, "istio_tcp_%s_total" % name, reporter="source") == wanted,
               "%s is %s, not %d" % (name, evidence.total(got, "istio_tcp_%s_total" % name), wanted))
    expect(received > 12345, received)
    process.signal(signal.SIGTERM)
    ended_well(mesh, process)


# ------------------------------------------------------------------ start and end
@case("an idle proxy ends within five seconds of being asked to, by signal and by /quitquitquit, with exit code 0")
def idle_end(mesh):
    for how in ("SIGTERM", "SIGINT", "quitquitquit"):
        process = start(mesh, "machines/spare")
        if how == "quitquitquit":
            status, text = page(mesh, "machines/spare", "/quitquitquit", programs.ZTUNNEL_ADMIN)
            expect(status == 405 and process.alive(), "GET /quitquitquit: %s %s" % (status, text))
            status, text = page(mesh, "machines/spare", "/quitquitquit", programs.ZTUNNEL_ADMIN, "POST")
            expect((status, text) == (200, "shutdown now\n"), "%s %s" % (status, text))
        else:
            process.signal(getattr(signal, how))
        expect(ended(mesh, process) == 0, how)


def holding(mesh, **env):
    """A proxy with one open connection through it."""
    process = start(mesh, "machines/spare", **env)
    sock = mesh.connect("machines/spare", mesh.ips("outside/plain")[0], 8080)
    expect("200" in get(sock), "the connection does not work")
    return process, sock


def refused(mesh):
    try:
        mesh.connect("machines/spare", mesh.ips("outside/plain")[0], 8080).close()
        return False
    except ConnectionRefusedError:
        return True


@case("an open connection works on and holds the end until it closes, while new ones are refused and readiness is gone")
def held_end(mesh):
    process, sock = holding(mesh, CONNECTION_TERMINATION_DEADLINE="1h")
    process.signal(signal.SIGTERM)
    wait_for("new connections to be refused", lambda: refused(mesh), 5)
    status, text = page(mesh, "machines/spare", "/healthz/ready", programs.ZTUNNEL_READY)
    expect(status == 500 and text.startswith("not ready"), "%s %s" % (status, text))
    for _ in range(3):
        expect("200" in get(sock) and process.alive(), "the open connection was cut")
    sock.close()
    ended_well(mesh, process)


@case("a short deadline cuts an open connection and ends the proxy with exit code 0, and the log says drained")
def short_deadline(mesh):
    process, sock = holding(mesh, CONNECTION_TERMINATION_DEADLINE="200ms")
    since = size_of_log(mesh, "machines/spare")
    process.signal(signal.SIGTERM)
    ended_well(mesh, process)
    expect(get(sock).startswith("closed"), "the connection outlived its proxy")
    sock.close()
    access(mesh, "machines/spare", since, lambda f: f.get("error") == "connection closed due to connection drain")


@case("a second SIGINT during the drain ends the proxy at once")
def impatient(mesh):
    process, sock = holding(mesh, CONNECTION_TERMINATION_DEADLINE="1h")
    process.signal(signal.SIGINT)
    wait_for("the drain to begin", lambda: refused(mesh), 5)
    process.signal(signal.SIGINT)
    ended_well(mesh, process)
    sock.close()


@case("a port that is taken makes the start fail and names the address: each of the proxy's, the admin, statistics and readiness ports")
def port_conflicts(mesh):
    for port in (15001, 15006, 15008, 15000, 15020, 15021):
        for sharing in (False, True):
            def occupy():
                sock = socket.socket(socket.AF_INET)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if sharing:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.bind(("127.0.0.1" if port == 15000 else "0.0.0.0", port))
                sock.listen(1)
                return sock

            holder = in_netns(netns_path(mesh.netns("machines/spare")), occupy)
            try:
                since = size_of_log(mesh, "machines/spare")
                process = launch(mesh, "machines/spare")
                code = ended(mesh, process, READY_S)
                with open(process.log, errors="replace") as handle:
                    handle.seek(since)
                    text = handle.read()
                expect(code == 1, "port %d taken: exit code %s" % (port, code))
                expect("Error: failed to bind to address" in text and ":%d:" % port in text and "in use" in text, text[-600:])
            finally:
                holder.close()
    process = start(mesh, "machines/spare")
    process.signal(signal.SIGTERM)
    expect(ended(mesh, process) == 0, "the ports were not the reason")


@case("a dedicated proxy that takes the name of a pod of another node gets no certificate and sends nothing")
def wrong_name(mesh):
    process = start(mesh, "machines/spare", PROXY_WORKLOAD_INFO="machines/server/server", NODE_NAME="node-b",
                    AUTH_TOKEN=os.path.join(mesh.lab.programs().tokens, "node-a"))
    try:
        got = mesh.ask("machines/spare", url(mesh, "shop/member"))
        expect(got["outcome"] == "closed", "a proxy with another pod's name got a certificate: %s" % got)
        with open(process.log, errors="replace") as handle:
            text = handle.read()
        expect("no pod with identity spiffe://cluster.local/ns/machines/sa/server runs on node node-a" in text, text[-600:])
    finally:
        process.signal(signal.SIGTERM)
        ended_well(mesh, process)
