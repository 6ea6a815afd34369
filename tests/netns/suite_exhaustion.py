"""A ztunnel that has few descriptors, and one that has none: what a pod may have and what is left for others, what answers
meanwhile, and that everything comes back."""
import contextlib
import os
import resource
import select
import socket

import wire
from aftermath import footprint, kill, restart, wait_ready
from harness import LabError, case, evidence, expect, get, in_netns, netns_path, programs, wait_for
from peer import TUNNEL_PORT
from suite_failures import LATECOMER, log_of, write

SCENARIO = "policies"
LIMIT = 600
KEPT = LIMIT // 4       # SECURITY.md: for ztunnel itself
FOR_PODS = LIMIT - KEPT
SHARE_PERCENT = 60      # so that two pods can have everything
SHARE = FOR_PODS * SHARE_PERCENT // 100
TUNNELS = -(-SHARE // 100)  # connections that carry those of one pod, and are its descriptors as well
MORE_MAX = 12           # pooled tunnels that were not there before
PAGES = ((programs.ZTUNNEL_READY, "/healthz/ready"), (programs.ZTUNNEL_STATS, "/metrics"),
         (programs.ZTUNNEL_ADMIN, "/config_dump"), (programs.ZTUNNEL_ADMIN, "/status"))
DENY = ("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: late, namespace: production}\n"
        "spec: {action: DENY, selector: {matchLabels: {app: web}}, rules: [{from: [{source: {namespaces: [staging]}}]}]}\n")


@contextlib.contextmanager
def few_descriptors(mesh, node, limit, share=25):
    """The node's ztunnel, started with room for that many descriptors; as it was in the end."""
    name = "ztunnel on " + node
    mesh.lab.wrap, mesh.lab.env = ["prlimit", "--nofile=%d:%d" % (limit, limit)], {"WEFT_POD_DESCRIPTORS": str(share)}
    try:
        kill(mesh, name)
        restart(mesh, name)
    finally:
        mesh.lab.wrap, mesh.lab.env = [], {}
    try:
        mesh.eventually("production/client", "http://httpbin.production/", 200)
        mesh.eventually("staging/tester", "http://httpbin.production/", 200)
        yield mesh.lab.process(name)
    finally:
        kill(mesh, name)
        restart(mesh, name)
        mesh.eventually("production/client", "http://httpbin.production/", 200, limit_s=40)


def exceeded(mesh, node, reason):
    return evidence.total(evidence.metrics(mesh.lab, node), "weft_limits_exceeded_total", reason=reason)


def pages_answer(mesh, node):
    for port, path in PAGES:
        status, text = programs.http_get(mesh.lab.prefix + node, port, path, limit_s=5)
        expect(status == 200, "%s of %s: %d %s" % (path, node, status, text[:200]))


def open_many(mesh, caller, address, count):
    """(connections whose request is answered, how many were refused)."""
    def dial():
        socks = []
        for _ in range(count):
            try:
                sock = wire.dial(address)
                sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                socks.append(sock)
            except ConnectionError:
                pass  # refused
        return socks

    held = []
    for sock in in_netns(netns_path(mesh.netns(caller)), dial):
        answer = get(sock, None)
        if "200" in answer:
            held.append(sock)
        else:
            sock.close()
            expect(answer.startswith("closed"), "a refused connection was answered: " + answer)
    return held, count - len(held)


def close_all(socks):
    for sock in socks:
        sock.close()


def works(near, far):
    near.sendall(b"there")
    expect(far.recv(100) == b"there", "an open connection of another pod no longer carries bytes")
    far.sendall(b"back")
    expect(near.recv(100) == b"back", "an open connection of another pod no longer carries bytes back")


def web_on(mesh, node):
    return next(key for key, record in mesh.lab.data["pods"].items()
                if key.startswith("production/web") and record["node"] == node)


@case("a pod has its share of descriptors, all pods what is not kept back: others' connections go on, pages answer, it passes")
def shares(mesh):
    node, address = "node-a", (mesh.ips("production/httpbin")[0], 8080)
    with few_descriptors(mesh, node, LIMIT, SHARE_PERCENT) as ztunnel:
        near, far = wire.connect(mesh, "staging/tester", "production/httpbin")
        with near, far:
            before = footprint(ztunnel)[0]
            first, refused = open_many(mesh, "production/client", address, SHARE + 20)
            expect(len(first) == SHARE - TUNNELS, "the first pod has %d connections, its share is %d with %d for tunnels" % (
                len(first), SHARE, TUNNELS))
            expect(exceeded(mesh, node, "pod_descriptors") == refused, "not every refusal is counted")
            works(near, far)
            pages_answer(mesh, node)
            mesh.eventually("staging/tester", "http://httpbin.production/", 200)  # the node has more

            second, refused = open_many(mesh, web_on(mesh, node), address, SHARE)
            expect(0 < len(second) < SHARE - TUNNELS, "the second pod has %d connections" % len(second))
            expect(exceeded(mesh, node, "descriptors") == refused, "not every refusal is counted")
            expect(mesh.ask("staging/tester", "http://httpbin.production/")["outcome"] == "closed", "there was one more")
            works(near, far)
            pages_answer(mesh, node)
            most = footprint(ztunnel)[0]
            expect(most <= LIMIT, most)

            close_all(first + second)
            mesh.eventually("staging/tester", "http://httpbin.production/", 200)
            mesh.eventually("production/client", "http://httpbin.production/", 200)
            works(near, far)
            wait_for("descriptors to be back", lambda: footprint(ztunnel)[0] <= before + MORE_MAX, 20)
            again, refused = open_many(mesh, "production/client", address, SHARE)
            close_all(again)
            expect(refused <= TUNNELS + 1, "the share did not come back: %d of %d refused" % (refused, SHARE))
    return "%d of %d descriptors: %d connections of one pod, %d of another, none of a third" % (
        most, LIMIT, len(first), len(second))


@case("strangers that say nothing to a tunnel port hold a few descriptors of a small node, and nobody waits for them")
def silent_strangers(mesh):
    node, count, places = "node-b", 500, (LIMIT - KEPT) * 25 // 100 // 4
    with few_descriptors(mesh, node, LIMIT) as ztunnel:
        start = os.path.getsize(os.path.join(mesh.lab.folder, node, "ztunnel.log"))
        before = footprint(ztunnel)[0]
        target = (mesh.ips("production/httpbin")[0], TUNNEL_PORT)
        held = []

        def dial():
            for _ in range(count):
                try:
                    held.append(wire.dial(target))
                except ConnectionError:
                    pass  # refused before connect() has returned

        in_netns(netns_path(mesh.netns("outside/plain")), dial)
        try:
            wait_for("the limit to be counted", lambda: exceeded(mesh, node, "source_handshakes") > 0, 5)
            for caller in ("production/client", "staging/tester"):
                for got in mesh.lab.ask(caller, [{"url": "http://httpbin.production/", "count": 10}]):
                    expect(got["outcome"] == 200, "%s beside silent strangers: %s" % (caller, got))
            pages_answer(mesh, node)
            most = footprint(ztunnel)[0]
            expect(most <= before + places + MORE_MAX, "%d descriptors, %d before, for %d handshakes" % (most, before, places))
        finally:
            close_all(held)
        wait_for("descriptors to be back", lambda: footprint(ztunnel)[0] <= before + MORE_MAX, 20)
        expect("accepting paused" not in log_of(mesh, node)[start:], "strangers alone used every descriptor up")
    return "%d silent connections, %d descriptors more" % (count, most - before)


class NoneLeft:
    """A running process may have no descriptor more than it has, until it is over."""

    def __init__(self, process, more):
        self.pid = process.pid
        self.usual = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        highest = max(int(number) for number in os.listdir("/proc/%d/fd" % self.pid))
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (highest + 1 + more, self.usual[1]))

    def over(self):
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.usual)


def answered(waiting, limit_s):
    """Takes those out of `waiting` whose answer comes within the time; returns them."""
    ready = select.select(waiting, [], [], limit_s)[0]
    for sock in ready:
        got = get(sock, None)
        expect("200" in got, "a connection that waited got: " + got)
        waiting.remove(sock)
    return ready


def starts(mesh):
    try:
        mesh.apply()
        return True
    except LabError:
        return False


@case("with no descriptor at all accepting pauses: open connections go on, who waits is served later, policies and pods come late")
def none_left(mesh):
    node, count = "node-a", 120
    name = "ztunnel on " + node
    ztunnel, state = mesh.lab.process(name), os.path.join(mesh.lab.folder, "state", "late.yaml")
    mesh.eventually("production/client", "http://httpbin.production/", 200)
    web = "http://%s:8080/" % mesh.ips(web_on(mesh, node))[0]
    start = len(log_of(mesh, node))
    before = footprint(ztunnel)[0]
    near, far = wire.connect(mesh, "staging/tester", "production/httpbin")
    with near, far:
        waiting, served = [], []
        limit = NoneLeft(ztunnel, 20)
        try:
            address = (mesh.ips("production/httpbin")[0], 8080)

            def dial():
                for _ in range(count):
                    waiting.append(wire.dial(address))
                    waiting[-1].sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")

            in_netns(netns_path(mesh.netns("production/client")), dial)
            wait_for("accepting to pause", lambda: "accepting paused" in log_of(mesh, node)[start:], 10)
            while True:
                got = answered(waiting, 0.3)
                if not got:
                    break
                served += got
            expect(served and waiting, "%d are served, %d wait" % (len(served), len(waiting)))
            works(near, far)
            # A policy and a pod that come now: neither is forgotten.
            write(state, DENY)
            try:
                mesh.apply(LATECOMER % "production")
            except LabError as problem:
                expect("weft-cni" in str(problem), "the pod failed for another reason: %s" % problem)
            works(near, far)
            # Every connection that ends makes room for another.
            while waiting:
                close_all(served)
                served = answered(waiting, wire.STALL_LIMIT_S)
                expect(served, "%d connections are never served" % len(waiting))
            close_all(served)
        finally:
            limit.over()
            close_all(waiting + served)
        works(near, far)
        wait_ready(mesh, node)  # what the agent could not hand over is tried again
        pages_answer(mesh, node)
        mesh.refused("staging/tester", web, "explicitly denied by: production/late")
        os.unlink(state)
        mesh.eventually("staging/tester", web, 200)
        wait_for("the late pod to start", lambda: starts(mesh), 40)
        mesh.eventually("production/latecomer", "http://httpbin.production/", 200)
        mesh.reset()
        wait_for("descriptors to be back", lambda: footprint(ztunnel)[0] <= before + MORE_MAX, 20)
    return "%d connections waited, all were served" % count
