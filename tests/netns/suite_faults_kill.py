"""kill -9 of every program at every step of enrolment, handshake and transfer."""
import os
import signal
import socket

import wire
from aftermath import Aftermath, hold_and, kill, outcome, request, restart
from harness import LabError, case, enrolment, expect, in_netns, netns_path, wait_for
from suite_admin import state_of
from suite_failures import LATECOMER
from wire import MIB, Task

SCENARIO = "policies"
ZTUNNEL, PEER = "ztunnel on node-a", "ztunnel on node-b"
AGENT, AUTHORITY = "weft-agent on node-a", "weft-certs on control"
CALLER, SERVER = "production/client", "production/httpbin"


def plugin_runs(mesh):
    """A weft-cni process works in node-a's namespace."""
    own = os.stat(netns_path(mesh.lab.prefix + "node-a")).st_ino
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/comm" % pid) as handle:
                if handle.read().strip() == "weft-cni" and os.stat("/proc/%s/ns/net" % pid).st_ino == own:
                    return True
        except OSError:
            pass
    return False


def latecomer(mesh):
    record = mesh.lab.data["pods"].get("production/latecomer")
    return record["netns"] if record and os.path.exists(netns_path(record["netns"])) else None


def redirected(mesh):
    try:
        return bool(latecomer(mesh) and enrolment.rules(latecomer(mesh)))
    except (LabError, OSError):
        return False  # on its way out


def served(mesh):
    try:
        return bool(latecomer(mesh) and enrolment.is_enrolled(latecomer(mesh)))
    except (LabError, OSError):
        return False


# Who stands still meanwhile, when, who is killed.
ENROLMENT = ((AGENT, "the plugin has asked", plugin_runs, AGENT),
             (ZTUNNEL, "the pod is redirected, nobody serves it", redirected, ZTUNNEL),
             (ZTUNNEL, "the pod is redirected, the agent waits for ztunnel", redirected, AGENT),
             (None, "ztunnel listens, the plugin has not answered", served, ZTUNNEL),
             (None, "ztunnel listens, the plugin has not answered", served, AGENT),
             (AUTHORITY, "the pod is redirected, nobody signs its certificate", redirected, AUTHORITY))


def starts(mesh):
    """A program that has just come back may not have found the others yet."""
    try:
        mesh.apply()
        return True
    except LabError as problem:
        expect("weft-cni" in str(problem), "the pod failed for another reason: %s" % problem)
        return False


@case("a program killed at any step of a pod's start: the pod does not start, or starts in the mesh, and starts when tried again")
def at_enrolment(mesh):
    after = Aftermath(mesh, "enrolment")
    started = 0
    for held, when, reached, victim in ENROLMENT:
        what = "%s killed when %s" % (victim, when)
        victim_process = mesh.lab.process(victim)
        stopped, task = hold_and(mesh, held, lambda: reached(mesh), lambda: victim_process.signal(signal.SIGKILL))
        try:
            mesh.apply(LATECOMER % "production")
            started += 1
            expect(enrolment.rules(latecomer(mesh)), what + ": a pod of the mesh started without redirect")
        except LabError as problem:
            expect("weft-cni" in str(problem), "%s: the pod failed for another reason: %s" % (what, problem))
            expect(not mesh.lab.data["pods"]["production/latecomer"]["process"], what + ": a refused pod runs")
        finally:
            task.result()
            kill(mesh, victim)
            if stopped and held != victim:
                stopped.signal(signal.SIGCONT)
        restart(mesh, victim)
        wait_for("the pod to start when tried again, as a kubelet does", lambda: starts(mesh), 20)
        after.reach("production/latecomer", "http://web.production/")
        mesh.reset()
        after.check(what)
    return "%s; %d of %d pods started at once" % (after.close(), started, len(ENROLMENT))


def is_open(mesh, pod, sock):
    """ztunnel has taken up the caller's connection, the only one there. Its port may be another one than the caller's: the kernel's
    address translation chooses one when an earlier connection's is not forgotten yet."""
    meant = "%s:%d" % sock.getpeername()[:2]
    return any(row["originalDst"] == meant for row in state_of(mesh, pod)["connections"]["outbound"])


def begin(mesh, after, port=8080):
    sock = mesh.connect(CALLER, mesh.ips(SERVER)[0], port)
    request(sock, after.token())
    wait_for("ztunnel to take the connection up", lambda: is_open(mesh, CALLER, sock), 20)
    return sock


def deaf_server(mesh):
    """(sockets to keep, port) of a server in the pod whose queue is full, so that dialling it hangs."""
    def make():
        listener = socket.socket()
        listener.bind(("", 0))
        listener.listen(0)
        full = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", listener.getsockname()[1]))
            full.append(sock)
        return [listener] + full, listener.getsockname()[1]

    return in_netns(netns_path(mesh.netns(SERVER)), make)


def broken_off(mesh, victim, what, sock):
    kill(mesh, victim)
    got = outcome(sock)
    sock.close()
    expect(not got, "%s: the caller heard %r" % (what, got))


@case("a program killed at any step of a handshake: the caller is told by a closed connection, nothing goes past the mesh")
def at_handshake(mesh):
    after = Aftermath(mesh, "handshake")
    for victim in (PEER, ZTUNNEL, AGENT):
        restarted = mesh.lab.process(ZTUNNEL)  # a new one has no tunnel to share
        kill(mesh, ZTUNNEL)
        restart(mesh, ZTUNNEL)
        expect(mesh.lab.process(ZTUNNEL).pid != restarted.pid, "ztunnel was not restarted")
        what = "%s killed while TLS has no answer" % victim
        held = mesh.lab.process(PEER)
        held.signal(signal.SIGSTOP)
        sock = begin(mesh, after)
        if victim == AGENT:  # that no handshake needs
            kill(mesh, victim)
            held.signal(signal.SIGCONT)
            got = outcome(sock)
            sock.close()
            expect(got and b"200" in got, "%s: the caller heard %r" % (what, got))
        else:
            broken_off(mesh, victim, what, sock)
            held.signal(signal.SIGCONT)
        restart(mesh, victim)
        after.check(what)
    for victim in (AUTHORITY, ZTUNNEL):
        what = "%s killed while a certificate is being asked for" % victim
        held = mesh.lab.process(AUTHORITY)
        held.signal(signal.SIGSTOP)
        kill(mesh, ZTUNNEL)
        restart(mesh, ZTUNNEL)
        sock = begin(mesh, after)
        kill(mesh, victim)
        held.signal(signal.SIGCONT)
        restart(mesh, victim)
        got = outcome(sock)
        sock.close()
        expect(not got or b"200" in got, "%s: the caller heard %r" % (what, got))
        after.check(what)
    for victim in (PEER, ZTUNNEL):
        what = "%s killed while the application has not been reached" % victim
        kept, port = deaf_server(mesh)
        broken_off(mesh, victim, what, begin(mesh, after, port))
        for sock in kept:
            sock.close()
        restart(mesh, victim)
        after.check(what)
    return after.close()


@case("a program killed during a transfer: it goes on without agent and authority, and breaks without a ztunnel, never short")
def at_transfer(mesh):
    after, carried, size = Aftermath(mesh, "transfer"), 0, 24 * MIB
    for victim in (AGENT, AUTHORITY, "weft-agent on node-b"):
        near, far = wire.connect(mesh, CALLER, SERVER)
        with near, far:
            first = Task(wire.send, near, size)
            got = wire.receive(far, size)
            wire.whole(first.result(), size, got, victim + " alive")
            killer = Task(kill_only, mesh.lab.process(victim))
            carried += size + wire.both_ways(near, far, size, victim + " killed")
            killer.result()
        kill(mesh, victim)
        restart(mesh, victim)
        after.check("%s killed during a transfer" % victim)
    for victim, breaks_at in ((ZTUNNEL, "far"), (PEER, "near")):
        near, far = wire.connect(mesh, CALLER, SERVER)
        ends = {"near": near, "far": far}
        sends, hears = (near, far) if breaks_at == "far" else (far, near)
        with near, far:
            sending = Task(wire.send_until_broken, sends)
            wire.receive(hears, 8 * MIB)
            kill_only(mesh.lab.process(victim))
            # The end whose proxy lives must not take what it got for everything.
            broke = Task(receive_until_broken, ends[breaks_at])
            expect(broke.result() == "reset", "%s killed: the other side read an orderly end" % victim)
            reset_sends(sends)
            sending.result()
        kill(mesh, victim)
        restart(mesh, victim)
        after.check("%s killed during a transfer" % victim)
    return "%s, %d bytes whole" % (after.close(), carried)


def kill_only(process):
    process.signal(signal.SIGKILL)
    wait_for("the end of " + process.name, lambda: not process.alive(), 5)


def reset_sends(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def receive_until_broken(sock):
    try:
        wire.receive(sock)
        return "end"
    except ConnectionResetError:
        return "reset"
