"""Pods that go away in the middle of things, addresses that change hands, packets that pretend, and no descriptors left."""
import contextlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time

import wire
from aftermath import Aftermath, footprint, kill, outcome, request, restart
from harness import LabError, case, evidence, expect, fabric, in_netns, netns_path, programs, wait_for
from lab_lib.shell import run
from wire import MIB, Task

SCENARIO = "policies"
CALLER, SERVER = "production/client", "production/httpbin"
POD = ("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: %s, labels: {app: %s}}\n"
       "spec: {nodeName: %s, serviceAccountName: %s, containers: [{name: app, ports: [{containerPort: 8080}]}]}\n")
ONLY_CLIENT = ("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: only-client, namespace: production}\n"
               "spec: {selector: {matchLabels: {app: httpbin}}, rules: [{from: [{source: {principals: "
               "[cluster.local/ns/production/sa/client]}}]}]}\n")
STRICT = ("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: production}\n"
          "spec: {mtls: {mode: STRICT}}\n")
SO_MARK, MARK = 36, 0x539
AGENT_ADMIN = 15015


def holds_namespace(mesh, inode):
    """Programs of the lab that keep a network namespace alive."""
    found = []
    for name in ("ztunnel", "weft-agent"):
        for node in fabric.NODES:
            pid = mesh.lab.process("%s on %s" % (name, node)).pid
            for number in os.listdir("/proc/%d/fd" % pid):
                try:
                    if os.readlink("/proc/%d/fd/%s" % (pid, number)) == "net:[%d]" % inode:
                        found.append("%s on %s" % (name, node))
                except OSError:
                    pass
    return found


@case("a pod's namespace deleted in the middle of a transfer: the other end is told, nothing of it is kept, the pod can come back")
def namespace_deleted(mesh):
    after = Aftermath(mesh, "deleted")
    for victim, peer, node in (("victim-server", CALLER, "node-b"), ("victim-caller", SERVER, "node-a")):
        mesh.apply(POD % (victim, "production", victim, node, victim))
        key = "production/" + victim
        mesh.eventually(key, "http://httpbin.production/", 200, headers={"x-token": after.token()})
        mesh.eventually(CALLER, "http://%s:8080/" % mesh.ips(key)[0], 200, headers={"x-token": after.token()})
        inode = os.stat(netns_path(mesh.netns(key))).st_ino
        near, far = wire.connect(mesh, peer if "server" in victim else key, key if "server" in victim else peer)
        sends, hears = (near, far) if "server" in victim else (far, near)
        sending = Task(wire.send_until_broken, sends)
        wire.receive(hears, 4 * MIB)
        # As a runtime that was killed would leave it: no plugin is asked, the namespace is simply gone. The receiver neither
        # ends nor resets: what the sender is told comes from the mesh.
        fabric.delete_namespace(mesh.netns(key))
        os.kill(mesh.lab.data["pods"][key]["process"]["pid"], signal.SIGKILL)
        mesh.apply(without=["Pod/" + victim])
        broke = sending.result(90)
        expect(broke == "reset", "%s: the end that lives on was told: %s" % (key, broke))
        sends.close()
        hears.close()  # the namespace lives as long as a socket of ours
        wait_for("nobody to keep the namespace of " + key, lambda: not holds_namespace(mesh, inode), 40)
        mesh.apply(POD % (victim, "production", victim, node, victim))
        mesh.eventually(CALLER, "http://%s:8080/" % mesh.ips(key)[0], 200, limit_s=40, headers={"x-token": after.token()})
        mesh.reset()
        after.check("the namespace of %s was deleted" % victim)
    return after.close()


def next_address(mesh, node, ips):
    """The next pod of the node gets these addresses: the address plugin goes on after the last one it gave away."""
    folder = os.path.join(mesh.lab.folder, node, "ipam", "weft-lab")
    for number, address in enumerate(ips):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = bytearray(socket.inet_pton(family, address))
        packed[-1] -= 1
        with open(os.path.join(folder, "last_reserved_ip.%d" % number), "w") as handle:
            handle.write(socket.inet_ntop(family, bytes(packed)))


def replace(mesh, old, new_name, namespace, node, account, text=""):
    """Deletes a pod and starts another with its addresses at once; returns the seconds between."""
    ips = mesh.ips(old)
    mesh.apply(without=["Pod/" + old.split("/")[1]])
    gone = time.monotonic()
    next_address(mesh, node, ips)
    mesh.apply(POD % (new_name, namespace, new_name, node, account) + text)
    between = time.monotonic() - gone
    # Newer address plugins announce the address (arp_notify); else neighbours send to the old pod for up to a minute.
    for other in fabric.NODES:
        run(["ip", "-n", mesh.lab.prefix + other, "neigh", "flush", "dev", fabric.POD_BRIDGE])
    key = "%s/%s" % (namespace, new_name)
    expect(mesh.ips(key) == ips, "%s got %s, not %s" % (key, mesh.ips(key), ips))
    return between


@case("an agent that stands still holds no pod's removal up, and the pod's peers find out by themselves")
def removed_unseen(mesh):
    mesh.apply(POD % ("leaver", "production", "leaver", "node-a", "leaver"))
    mesh.eventually(CALLER, "http://%s:8080/" % mesh.ips("production/leaver")[0], 200)
    near, far = wire.connect(mesh, CALLER, "production/leaver")
    with near, far:
        near.sendall(b"before")
        expect(far.recv(100) == b"before", "no byte passed before the removal")
        agent = mesh.lab.process("weft-agent on node-a")
        agent.signal(signal.SIGSTOP)
        try:
            mesh.apply(without=["Pod/leaver"])
        finally:
            agent.signal(signal.SIGCONT)
        # Once PINGs have no answer any more.
        expect(wire.told_of_end(near, 60), "the caller was not told that the pod is gone")
    expect("production/leaver" not in mesh.lab.data["pods"], "the pod is still there")
    mesh.reset()


@case("a caller's address given to another pod at once: the new pod has none of the old one's rights, in the mesh or outside it")
def caller_address_reused(mesh):
    after, asked, shortest = Aftermath(mesh, "caller-address"), 0, 60.0
    mesh.apply(ONLY_CLIENT)
    url = "http://%s:8080/" % mesh.ips(SERVER)[0]
    for namespace, account in (("staging", "thief"), ("outside", "thief")):
        mesh.apply(POD % ("entitled", "production", "entitled", "node-a", "client"))
        mesh.eventually("production/entitled", url, 200, headers={"x-token": after.token()})
        shortest = min(shortest, replace(mesh, "production/entitled", "thief", namespace, "node-a", account))
        for got in mesh.lab.ask(namespace + "/thief", [{"url": url, "count": 20, "limit_s": 3}]):
            expect(got["outcome"] in ("closed", "timeout"), "%s/thief was let in with a dead pod's address: %s" % (namespace, got))
            asked += 1
        mesh.apply(without=["AuthorizationPolicy/only-client"])
        mesh.eventually(namespace + "/thief", url, 200)  # the control: but for the policy it would be let in
        mesh.apply(ONLY_CLIENT, without=["Pod/thief"])
    mesh.eventually(CALLER, url, 200, headers={"x-token": after.token()})
    mesh.reset()
    after.check("a caller's address was reused")
    expect(shortest < 1, "the address was free for %.2f s: too long to show anything" % shortest)
    return "%s; %d requests refused, the other pod there after %.2f s" % (after.close(), asked, shortest)


@case("a server's address given to another pod at once: its callers reach the new pod by the new pod's rules, or nobody")
def server_address_reused(mesh):
    after = Aftermath(mesh, "server-address")
    deny = ("---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: nobody, namespace: staging}\n"
            "spec: {action: DENY, selector: {matchLabels: {app: heir}}, rules: [{}]}\n")
    shortest = 60.0
    for policy, reachable in (("", True), (deny, False)):
        mesh.apply(POD % ("deceased", "production", "deceased", "node-b", "deceased"))
        url = "http://%s:8080/" % mesh.ips("production/deceased")[0]
        mesh.eventually(CALLER, url, 200, headers={"x-token": after.token()})  # from here on a tunnel is pooled
        open_one = mesh.connect(CALLER, mesh.ips("production/deceased")[0], 8080)
        request(open_one, after.token())
        expect(b"200" in outcome(open_one), "no answer on the connection that stays open")
        shortest = min(shortest, replace(mesh, "production/deceased", "heir", "staging", "node-b", "heir", policy))
        if reachable:
            got = mesh.eventually(CALLER, url, 200, limit_s=40, headers={"x-token": after.token()})
            expect(got["body"]["pod"] == "heir", got["body"])
        else:
            for got in mesh.lab.ask(CALLER, [{"url": url, "count": 10, "limit_s": 3}]):
                expect(got["outcome"] in ("closed", "timeout"), "a policy of the new pod did not hold: %s" % got)
        try:
            request(open_one, after.token())
            heard = outcome(open_one, 30)
        except OSError:
            heard = None
        expect(not heard, "the old pod's connection was continued by the new pod: %r" % heard)
        open_one.close()
        mesh.reset()
        after.check("a server's address was reused")
    expect(shortest < 1, "the address was free for %.2f s: too long to show anything" % shortest)
    return "%s; the other pod there after %.2f s" % (after.close(), shortest)


@case("a process in a pod that may set packet marks leaves the mesh, not more: STRICT pods do not answer it, and it has no identity")
def marked(mesh):
    """docs/decisions/packet-mark.md says why."""
    after = Aftermath(mesh, "marked")
    server = mesh.ips(SERVER)[0]

    def dial(port):
        def body():
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, MARK)
            sock.settimeout(5)
            sock.connect((server, port))
            return sock

        return in_netns(netns_path(mesh.netns(CALLER)), body)

    def ask(port):
        try:
            with dial(port) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                return outcome(sock, 5)
        except OSError:
            return None

    expect(b"200" in (ask(8080) or b""), "the control fails: a permissive pod answers plain text from anybody")
    expect(not ask(15008), "the tunnel port answered a peer without a certificate")
    mesh.apply(STRICT)
    mesh.eventually("outside/plain", "http://%s:8080/" % server, "closed", limit_s=20)
    expect(not ask(8080), "a STRICT pod answered marked plain text")
    mesh.eventually(CALLER, "http://%s:8080/" % server, 200, headers={"x-token": after.token()})
    mesh.apply(without=["PeerAuthentication/strict"])
    mesh.apply(ONLY_CLIENT)
    mesh.eventually("staging/tester", "http://%s:8080/" % server, "closed", limit_s=20)
    expect(not ask(8080), "a marked connection has the identity of the pod it comes from")
    mesh.eventually(CALLER, "http://%s:8080/" % server, 200, headers={"x-token": after.token()})
    mesh.reset()
    after.check("packet marks were abused")
    return after.close()


# ------------------------------------------------------------------ noticing marks
# An application of a user that is not root (and whose folders below /proc are its own, PR_SET_DUMPABLE), with a connection that
# carries a mark, until its standard input ends.
DIALS_MARKED = ("import ctypes, os, socket, sys; s = socket.socket(); s.setsockopt(1, 36, int(sys.argv[1], 0)); s.settimeout(20); "
                "os.setresuid(65534, 65534, 65534); ctypes.CDLL(None).prctl(4, 1, 0, 0, 0); "
                "s.connect((sys.argv[2], int(sys.argv[3]))); print(s.getsockname()[1], flush=True); sys.stdin.read()")
LOOK_LIMIT_S = 45  # a look at a pod comes every 15 s at least, with a list of processes that is no older


@contextlib.contextmanager
def dialling(mesh, key, mark, address, port):
    """A process of the pod that dials with that mark and keeps the connection."""
    process = subprocess.Popen(mesh.lab.inside(key, [sys.executable, "-SEs", "-c", DIALS_MARKED, mark, address, str(port)]),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        expect(process.stdout.readline().strip().isdigit(), "no connection from %s with mark %s" % (key, mark))
        yield process
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def looks(mesh, node, **labels):
    return evidence.total(evidence.metrics(mesh.lab, node, programs.AGENT_METRICS), "weft_agent_mark_looks_total", **labels)


def wait_round(mesh, node):
    """Until the agent has looked at every pod once more, which it does every 12 to 15 s; returns the number of looks."""
    before = looks(mesh, node)
    enough = 2 * evidence.total(evidence.metrics(mesh.lab, node, programs.AGENT_METRICS), "weft_agent_pods", state="enrolled")
    wait_for("looks at all pods of " + node, lambda: looks(mesh, node) >= before + enough, LOOK_LIMIT_S)
    return enough


def users(mesh, node):
    status, text = programs.http_get(mesh.lab.prefix + node, AGENT_ADMIN, "/status")
    expect(status == 200, text)
    return {pod["pod"]: pod["markUsers"] for pod in json.loads(text)["pods"] if pod.get("markUsers")}


def marked_sockets(mesh, key):
    return len(run(["ip", "netns", "exec", mesh.netns(key), "ss", "-tnH", "fwmark = 0x539/0xfff"]).stdout.splitlines())


@case("a process that uses the proxy's packet mark is named and counted; the proxy's own connections never are, nor those of two "
      "proxies during an upgrade")
def noticed(mesh):
    node, server = mesh.node(CALLER), mesh.ips(SERVER)[0]
    log = os.path.join(mesh.lab.folder, node, "weft-agent.log")

    # A proxy that drains beside a newer one, both with connections through the pod.
    mesh.lab.env = {"CONNECTION_TERMINATION_DEADLINE": "120s"}
    mesh.lab.stop_process("ztunnel on " + node, limit_s=40)
    old = mesh.lab.programs().start_ztunnel(node)
    mesh.lab.env = {}
    mesh.eventually(CALLER, "http://httpbin.production/", 200, limit_s=40)
    odd = looks(mesh, node) - looks(mesh, node, outcome="none")
    with contextlib.ExitStack() as stack:
        for sock in wire.connect(mesh, CALLER, SERVER) + wire.connect(mesh, "outside/plain", CALLER):
            stack.enter_context(sock)
        beside = mesh.lab.programs().start_ztunnel(node, place=fabric.CONTROL)
        old.signal(signal.SIGTERM)
        mesh.eventually(CALLER, "http://httpbin.production/", 200)
        looked = wait_round(mesh, node)
        expect(old.alive() and marked_sockets(mesh, CALLER) >= 3, "the control has too few connections of the proxies'")
        expect(looks(mesh, node) - looks(mesh, node, outcome="none") == odd and not users(mesh, node),
               "with two proxies: %s" % users(mesh, node))
    wait_for("the older ztunnel to end", lambda: not old.alive(), 40)
    mesh.lab.stop_process(old.name)
    mesh.lab.stop_process(beside.name, limit_s=40)
    mesh.lab.programs().start_ztunnel(node)
    mesh.eventually(CALLER, "http://httpbin.production/", 200, limit_s=40)

    with dialling(mesh, CALLER, "0x53a", server, 8080), dialling(mesh, CALLER, "0x539", server, 8080) as marked:
        named = "(pid %d), 1 connection, one to %s:8080" % (marked.pid, server)
        wait_for("the agent to name the process", lambda: users(mesh, node), LOOK_LIMIT_S)
        found = users(mesh, node)
        expect(list(found) == [CALLER] and found[CALLER].endswith(named), found)
        wait_for("a second look", lambda: looks(mesh, node, outcome="users") >= 2, LOOK_LIMIT_S)
        warned = [line for line in programs.read_file(log).splitlines() if "uses the proxy's packet mark, past the mesh" in line]
        expect(len(warned) == 1 and named in warned[0] and CALLER in warned[0], warned)
        told = run(["nsenter", "--net=" + netns_path(mesh.lab.prefix + node), "--",
                    programs.find(mesh.lab.data["build"], "weftctl"), "status"], check=False).stdout
        expect("! pod %s sends past the mesh with the proxy's packet mark: " % CALLER in told and named in told, told)
    wait_for("the agent to see its end", lambda: not users(mesh, node), LOOK_LIMIT_S)
    mesh.eventually(CALLER, "http://httpbin.production/", 200)
    mesh.reset()
    return "%d looks while two proxies served, then 1 process named" % looked
