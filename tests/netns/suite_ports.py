"""The ports of the node proxies as others find them: which answer whom, what their sockets carry, what the statistics page says."""
import http.client
import json
import os
import shutil
import subprocess

from harness import Skip, case, evidence, expect, fabric, get, in_netns, netns_path, programs, wait_for
from lab_lib.shell import run

SCENARIO = "policies"
IN_POD = (15001, 15006, 15008)  # ztunnel listens there inside every enrolled pod
NOWHERE_IN_POD = (15080, 15000, 15020, 15021)
CAPTURED, PLAIN, SERVER = "production/client", "outside/plain", "production/httpbin"


def attempt(mesh, caller, address, port):
    """What a request gets: "refused", "closed" after it was accepted, or a status line."""
    try:
        sock = mesh.connect(caller, address, port)
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "closed"  # accepted, and reset before we looked
    try:
        answer = get(sock)
        return "closed" if answer.startswith("closed") else answer
    finally:
        sock.close()


def expect_all(mesh, caller, address, ports, outcome):
    for port in ports:
        got = attempt(mesh, caller, address, port)
        expect(got == outcome, "%s to %s port %d: %s, not %s" % (caller, address, port, got, outcome))


def still_serves(mesh):
    mesh.eventually(CAPTURED, "http://httpbin.production/", 200)
    mesh.eventually(PLAIN, "http://httpbin.production/", 200)


@case("a captured pod reaches none of the proxy's ports but statistics and readiness, neither its own proxy's nor another's")
def from_captured(mesh):
    for node in fabric.NODES:
        for address in fabric.ADDRESS[node]:
            expect_all(mesh, CAPTURED, address, (15001, 15006, 15080, 15000), "closed")
            expect_all(mesh, CAPTURED, address, (15020, 15021), "HTTP/1.1 404 Not Found")
        expect_all(mesh, CAPTURED, fabric.ADDRESS[node][0], (15008,), "closed")
    still_serves(mesh)


@case("a captured pod finds the proxy's ports in its own namespace, and they serve nobody; others are not there")
def own_namespace(mesh):
    for address in mesh.ips(CAPTURED) + ["127.0.0.1", "::1"]:
        expect_all(mesh, CAPTURED, address, IN_POD, "closed")
        expect_all(mesh, CAPTURED, address, NOWHERE_IN_POD, "refused")
    still_serves(mesh)


@case("a pod outside the mesh is refused by the proxy's ports on a node, answered on statistics and readiness, closed by a pod's")
def from_outside(mesh):
    for node in fabric.NODES:
        for address in fabric.ADDRESS[node]:
            expect_all(mesh, PLAIN, address, (15001, 15006, 15080, 15000), "refused")
            expect_all(mesh, PLAIN, address, (15020, 15021), "HTTP/1.1 404 Not Found")
        # Without a pod of its own in the state folder a proxy has no certificate: it waits for one, and then closes.
        expect_all(mesh, PLAIN, fabric.ADDRESS[node][0], (15008,), "closed")
    for address in mesh.ips(SERVER):
        expect_all(mesh, PLAIN, address, IN_POD + NOWHERE_IN_POD, "closed")
    still_serves(mesh)


def sockets(mesh, pod, condition):
    """What ss says of the established connections of a pod's namespace, one line each."""
    return run(["nsenter", "--net=" + netns_path(mesh.netns(pod)), "ss", "-Htnoe", "state", "established", condition]
               ).stdout.splitlines()


@case("sockets inside pods carry the mark, and keepalive except where tunnels come in")
def socket_options(mesh):
    address = mesh.ips(SERVER)[0]
    tunnelled, plain = mesh.connect(CAPTURED, address, 8080), mesh.connect(PLAIN, address, 8080)
    try:
        expect("200" in get(tunnelled) and "200" in get(plain), "a connection does not work")
        for pod, condition, what, keepalive in (
                (CAPTURED, "( sport = :15001 )", "accepted from the application", True),
                (CAPTURED, "( dport = :15008 )", "dialled to the peer", True),
                (SERVER, "( sport = :15008 )", "accepted from the peer", False),
                (SERVER, "( sport = :15006 )", "accepted in plain text", True),
                (SERVER, "( dport = :8080 )", "dialled to the application", True)):
            def fits():
                lines = sockets(mesh, pod, condition)
                return lines and all("fwmark:0x539" in line and ("timer:(keepalive," in line) == keepalive for line in lines)

            # A timer of the last exchange may still be running.
            wait_for("the socket %s to have mark and %s" % (what, "keepalive" if keepalive else "no keepalive"), fits, 5,
                     "\n".join(sockets(mesh, pod, condition)))
        application = [line for line in sockets(mesh, SERVER, "( sport = :8080 )")]
        expect(application and not any("fwmark:0x539" in line for line in application), application)
    finally:
        tunnelled.close()
        plain.close()


def stats_page(mesh, node, accept=None, path="/metrics"):
    """(content type, text) of the statistics page."""
    def connect():
        connection = http.client.HTTPConnection("127.0.0.1", programs.ZTUNNEL_STATS, timeout=5)
        connection.connect()
        return connection

    connection = in_netns(netns_path(mesh.lab.prefix + node), connect)
    try:
        connection.request("GET", path, headers={"Accept": accept} if accept else {})
        reply = connection.getresponse()
        text = reply.read().decode()
        expect(reply.status == 200, "%s: %s %s" % (path, reply.status, text[:200]))
        return reply.headers["Content-Type"], text
    finally:
        connection.close()


@case("the statistics page is OpenMetrics for who asks for it, by that name and at any place of a list, and plain text for others")
def negotiation(mesh):
    node = fabric.NODES[0]
    open_metrics, plain = "application/openmetrics-text;charset=utf-8;version=1.0.0", "text/plain; charset=utf-8"
    for accept, expected in ((None, plain), ("", plain), ("*/*", plain), ("text/plain", plain),
                             ("application/openmetrics-text", open_metrics),
                             ("application/openmetrics-text; version=1.0.0,text/plain;q=0.5", open_metrics),
                             ("text/plain;q=0.5,Application/OpenMetrics-Text;version=0.0.1", open_metrics),
                             ("text/plain, application/openmetrics-text", plain),  # ztunnel does not trim
                             ("application/openmetrics-text2", plain), ("application/openmetrics", plain)):
        for path in ("/metrics", "/stats/prometheus"):
            kind, text = stats_page(mesh, node, accept, path)
            expect(kind == expected, "Accept %r gave %s" % (accept, kind))
            expect(text.endswith("# EOF\n"), "no end: " + text[-100:])
            name = "istio_tcp_sockets_open" if kind == plain else "workload_manager_proxies_started"
            expect("# TYPE %s " % name in text, text[:500])


STABLE = ("istio_build", "istio_tcp_connections_opened", "istio_tcp_connections_closed", "istio_tcp_received_bytes",
          "istio_tcp_sent_bytes", "process_open_fds", "process_max_fds")
LABELS = ("reporter source_workload source_canonical_service source_canonical_revision source_workload_namespace "
          "source_principal source_app source_version source_cluster destination_service destination_service_namespace "
          "destination_service_name destination_workload destination_canonical_service destination_canonical_revision "
          "destination_workload_namespace destination_principal destination_app destination_version destination_cluster "
          "request_protocol response_flags connection_security_policy source_region source_zone destination_region "
          "destination_zone").split()


@case("families and labels are ztunnel's: what is not stable says so, labels stand in their order, promtool finds nothing wrong")
def families(mesh):
    mesh.apply("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: no-staging, namespace: production}\n"
               "spec: {action: DENY, rules: [{from: [{source: {namespaces: [staging]}}]}]}\n")
    mesh.refused("staging/tester", "http://web.production/", "explicitly denied by: production/no-staging")
    mesh.reset()
    still_serves(mesh)
    for node in fabric.NODES:
        _, text = stats_page(mesh, node, "application/openmetrics-text")
        helps = dict(line[len("# HELP "):].split(" ", 1) for line in text.splitlines() if line.startswith("# HELP "))
        expect(set(STABLE) <= set(helps) and {"istio_tcp_connections_failed", "istio_tcp_sockets_open",
                                              "workload_manager_active_proxy_count", "workload_manager_pending_proxy_count",
                                              "workload_manager_proxies_started"} <= set(helps), sorted(helps))
        for name, help_text in helps.items():
            expect(("unstable" in help_text) == (name not in STABLE), "%s: %s" % (name, help_text))
            expect(help_text.endswith("."), "%s: %s" % (name, help_text))
        samples = evidence.parse_metrics(text)
        for name, labels, _ in samples:
            if name.startswith(("istio_tcp_connections", "istio_tcp_received", "istio_tcp_sent")):
                expect(list(labels) in (LABELS, LABELS[:23]), "%s: %s" % (name, list(labels)))
        for name in ("process_open_fds", "process_max_fds"):
            values = [value for sample, labels, value in samples if sample == name and not labels]
            expect(len(values) == 1 and values[0] > 0, "%s: %s" % (name, values))
        expect(evidence.total(samples, "istio_build", component="ztunnel") == 1, "istio_build")
    if not shutil.which("promtool"):
        raise Skip("the rest holds; promtool is not installed")
    for node in fabric.NODES:
        told = subprocess.run(["promtool", "check", "metrics"], input=stats_page(mesh, node)[1], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
        expect(told.returncode == 0, "promtool on %s: %s" % (node, told.stdout))


@case("one connection is counted as opened and closed once at both ends, its bytes by their direction, and its sockets go")
def one_connection(mesh):
    url = "http://%s:8080/" % mesh.ips(SERVER)[0]
    mesh.eventually(CAPTURED, url, 200)
    names = ("istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total", "istio_tcp_received_bytes_total",
             "istio_tcp_sent_bytes_total")

    def numbers():
        return [[evidence.total(evidence.metrics(mesh.lab, node), name, reporter=reporter, destination_workload="httpbin",
                                source_workload="client") for name in names]
                for node, reporter in ((mesh.node(CAPTURED), "source"), (mesh.node(SERVER), "destination"))]

    wait_for("the connections before to be counted as closed",
             lambda: all(opened == closed for opened, closed, _, _ in numbers()), 5)
    before = numbers()
    sock = mesh.connect(CAPTURED, mesh.ips(SERVER)[0], 8080)
    request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    sock.sendall(request)
    answer = b""
    for part in iter(lambda: sock.recv(65536), b""):
        answer += part
    sock.close()
    change = [1, 1, len(request), len(answer)]
    wait_for("the connection to be counted", lambda: [[b - a for a, b in zip(*pair)] for pair in zip(before, numbers())] ==
             [change, change], 5)


@case("with LOG_FORMAT=json every line is one object with level, time, scope and message first, access fields in their order")
def json_logs(mesh):
    node = mesh.node(CAPTURED)
    mesh.lab.stop_process("ztunnel on " + node, limit_s=40)
    mesh.lab.programs().start_ztunnel(node, {"LOG_FORMAT": "json"})
    try:
        path = os.path.join(mesh.lab.folder, node, "ztunnel.log")
        start = os.path.getsize(path)
        mesh.eventually(CAPTURED, "http://%s:8080/" % mesh.ips(SERVER)[0], 200)

        def access():
            with open(path) as handle:
                handle.seek(start)
                lines = [json.loads(line) for line in handle if line.startswith("{")]
            expect(all(list(line)[:4] == ["level", "time", "scope", "message"] for line in lines), lines[:3])
            return next((line for line in lines if line["scope"] == "access" and line.get("direction") == "outbound"), None)

        line = wait_for("a line of the access log", access, 5)
        expect(list(line)[4:] == ["src.addr", "src.workload", "src.namespace", "src.identity", "src.cluster", "dst.addr",
                                  "dst.hbone_addr", "dst.workload", "dst.namespace", "dst.identity", "dst.cluster", "direction",
                                  "bytes_sent", "bytes_recv", "duration"], line)
        expect(line["level"] == "info" and isinstance(line["bytes_sent"], int) and line["duration"].endswith("ms"), line)
    finally:
        mesh.lab.stop_process("ztunnel on " + node, limit_s=40)
        mesh.lab.programs().start_ztunnel(node)
    still_serves(mesh)


@case("a POST to /quitquitquit ends the proxy in an orderly way, another method does not")
def quit(mesh):
    node = mesh.node(CAPTURED)

    def page(path, method):
        return programs.http_get(mesh.lab.prefix + node, programs.ZTUNNEL_ADMIN, path, limit_s=5, method=method)

    expect(page("/quitquitquit", "GET")[0] == 405, "GET")
    still_serves(mesh)
    expect(page("/quitquitquit", "POST") == (200, "shutdown now\n"), "POST")
    wait_for("the proxy to be gone", lambda: page("/", "GET")[0] == 0, 15)
    mesh.lab.stop_process("ztunnel on " + node, limit_s=40)
    mesh.lab.programs().start_ztunnel(node)
    still_serves(mesh)
