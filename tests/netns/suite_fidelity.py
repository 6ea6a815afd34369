"""What goes in comes out: bytes, ends and resets of connections through two proxies, through a drain, and while one ztunnel
takes over from another."""
import os
import re
import secrets
import signal
import socket
import struct

import wire
from harness import Capture, case, expect, fabric, get, in_netns, netns_path, wait_for
from peer import GOAWAY, Peer, context_of
from lab_lib.shell import run
from suite_failures import LATECOMER, log_of
from wire import MIB, Task

SCENARIO = "policies"
# Caller, server: the same node and the other, in the mesh and half outside it.
ROUTES = (("production/client", "production/httpbin"), ("production/client", "staging/tester"),
          ("outside/plain", "production/httpbin"), ("production/client", "outside/plain"))
CALLER = "production/client"
QUEUED, DIALS = 500, 5
UNANSWERED_MAX = 2  # of some 2000 dials: docs/robustness.md, "Not explained"


def on_every_route(mesh):
    for caller, server in ROUTES:
        for family in (4, 6):
            near, far = wire.connect(mesh, caller, server, family)
            with near, far:
                yield "%s to %s over IPv%d" % (caller, server, family), near, far


@case("bytes come out as they went in, both ways at once, to the FIN")
def fin(mesh):
    carried = sum(wire.both_ways(near, far, 12 * MIB, what) for what, near, far in on_every_route(mesh))
    sizes = [0, 1, 2, 16383, 16384, 16385, 65535, 65536, 65537, 262143, 262144, 262145, MIB + 1]
    for size in sizes:
        near, far = wire.connect(mesh, "production/client", "production/httpbin")
        with near, far:
            carried += wire.both_ways(near, far, size, "%d bytes" % size)
    return "%d connections, %d bytes" % (2 * len(ROUTES) + len(sizes), carried)


@case("an end that has finished still receives, be it the caller's or the server's")
def half_close(mesh):
    carried, size = 0, 3 * MIB + 5
    for turn in range(2):
        for what, near, far in on_every_route(mesh):
            first, second = (near, far) if turn == 0 else (far, near)
            for sends, hears in ((first, second), (second, first)):
                sent = Task(wire.send_and_finish, sends, size)
                got = wire.receive(hears)  # to the end: this direction is over before the other begins
                wire.whole(sent.result(), size, got, "%s, turn %d" % (what, turn))
                carried += size
    return "%d connections, %d bytes" % (4 * len(ROUTES), carried)


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@case("a reset arrives as a reset and not as an end, from either side, after every byte that was read before it")
def resets(mesh):
    count = 0
    for turn in range(2):
        for what, near, far in on_every_route(mesh):
            breaks, hears = (near, far) if turn == 0 else (far, near)
            size = MIB + 77
            sent = Task(wire.send, breaks, size)
            got = wire.receive(hears, size)
            wire.whole(sent.result(), size, got, what)
            reset(breaks)
            try:
                rest = hears.recv(1)
            except ConnectionResetError:
                count += 1
                continue
            raise AssertionError("%s: after a reset %s read %r" % (what, "the server" if turn == 0 else "the caller", rest))
    return "%d resets" % count


@case("a server that speaks first is heard although the caller says nothing")
def server_first(mesh):
    for what, near, far in on_every_route(mesh):
        far.sendall(b"220 ready\r\n")
        expect(near.recv(100) == b"220 ready\r\n", what)
        near.sendall(b"QUIT\r\n")
        expect(far.recv(100) == b"QUIT\r\n", what)
    return "%d connections" % (2 * len(ROUTES))


@case("callers behind one address that use the very ports from which ztunnel delivers are served and stay so, each by itself")
def same_ports(mesh):
    caller, server, count, alike = "outside/plain", "production/httpbin", 0, 0
    for family in (4, 6):
        own, target = (mesh.ips(pod)[0 if family == 4 else 1] for pod in (caller, server))
        listener, pairs = wire.listen(mesh, server, family), []

        def dial(port):
            return socket.create_connection((target, listener.getsockname()[1]), wire.STALL_LIMIT_S, (own, port))

        try:
            # Spread over all of them, as ztunnel's go up one by one from any.
            for port in range(61000, 65536, 9):
                near = in_netns(netns_path(mesh.netns(caller)), lambda: dial(port))
                pairs.append((near, None))
                far, source = listener.accept()
                far.settimeout(wire.STALL_LIMIT_S)
                pairs[-1] = (near, far)
                expect(source[0] == own, "the server sees %s" % source[0])
            alike += len({near.getsockname()[1] for near, _ in pairs} & {far.getpeername()[1] for _, far in pairs})
            for near, far in pairs:
                for sends, hears in ((near, far), (far, near)):
                    token = os.urandom(16)
                    sends.sendall(token)
                    expect(hears.recv(100) == token, "bytes of another connection, or none")
            count += len(pairs)
        finally:
            listener.close()
            for sock in (end for pair in pairs for end in pair if end):
                sock.close()
    expect(alike >= 10, "only %d deliveries had a port that the caller had too: nothing was tried" % alike)
    return "%d connections, %d deliveries from a port that the caller had as well" % (count, alike)


@case("UDP passes untouched: content, sizes and addresses, and it is what it was on the wire")
def udp(mesh):
    capture = Capture(mesh.lab, "udp")
    token, count = secrets.token_hex(12), 0
    for caller, server in ROUTES:
        for family in (4, 6):
            far = wire.listen(mesh, server, family, kind=socket.SOCK_DGRAM)
            near = wire.listen(mesh, caller, family, kind=socket.SOCK_DGRAM)
            target = (mesh.ips(server)[0 if family == 4 else 1], far.getsockname()[1])
            with near, far:
                for data in (token.encode(), b"", b"x", os.urandom(1400), os.urandom(20000)):
                    near.sendto(data, target)
                    got, source = far.recvfrom(65536)
                    own = mesh.ips(caller)[0 if family == 4 else 1]
                    expect(got == data, "%d bytes became %d" % (len(data), len(got)))
                    expect(source[:2] == (own, near.getsockname()[1]), "sent by %s, received from %s" % (own, source))
                    far.sendto(data, source)
                    expect(near.recvfrom(65536)[0] == data, "the answer is another one")
                    count += 2
    capture.stop()
    expect(capture.count([token]) == 1, "the datagram is not readable on the wire")
    capture.remove()
    return "%d datagrams" % count


# ------------------------------------------------------------------ drain and swap
@case("a drain tells peers with a GOAWAY, lets a transfer end, and cuts at the deadline what does not end")
def drain(mesh):
    node = mesh.node("production/httpbin")
    running = mesh.lab.process("ztunnel on " + node)
    near, far = wire.connect(mesh, "production/client", "production/httpbin")
    idle_near, idle_far = wire.connect(mesh, "production/client", "production/httpbin")
    peer = Peer(mesh, "production/httpbin", context_of(mesh, "tester"))
    with near, far, idle_near, idle_far, peer:
        wire.whole(wire.send(near, 1000), 1000, wire.receive(far, 1000), "before the drain")
        running.signal(signal.SIGTERM)
        last_stream = int.from_bytes(peer.read_until(GOAWAY)[:4], "big")
        expect(last_stream == 0x7fffffff, "the first GOAWAY refuses streams that may be on their way")
        carried = wire.both_ways(near, far, 8 * MIB, "during the drain")
        expect(running.alive(), "ztunnel did not wait for the connection that is open")
        idle_far.sendall(b"still here")
        expect(idle_near.recv(100) == b"still here", "an open connection was cut before the deadline")
        wait_for("ztunnel to end at its deadline", lambda: not running.alive(), 20)
        for sock in (idle_near, idle_far):
            try:
                expect(sock.recv(1) == b"", "more came out than went in")
            except ConnectionResetError:
                pass
    mesh.lab.stop_process("ztunnel on " + node)
    mesh.lab.programs().start_ztunnel(node)
    mesh.eventually("production/client", "http://httpbin.production/", 200)
    return "%d bytes during the drain" % carried


@case("a pod that the runtime removes says good-bye to its peers and ends its connections while its link still exists")
def removed(mesh):
    mesh.apply(LATECOMER.replace("latecomer", "leaver") % "production")
    mesh.eventually(CALLER, "http://%s:8080/" % mesh.ips("production/leaver")[0], 200)
    near, far = wire.connect(mesh, CALLER, "production/leaver")
    peer = Peer(mesh, "production/leaver", context_of(mesh, "tester"))
    with peer, near, far:
        near.sendall(b"before")
        expect(far.recv(100) == b"before", "no byte passed before the removal")
        mesh.apply(without=["Pod/leaver"])
        peer.read_until(GOAWAY)
        wait_for("the agent to be told by the plugin", lambda: "pod is being removed" in log_of(mesh, "node-a", "weft-agent"), 5)
        expect(wire.told_of_end(near, 5), "the caller was not told that the pod is gone")
    expect("production/leaver" not in mesh.lab.data["pods"], "the pod is still there")
    mesh.reset()


def dial_queue(mesh, caller, server, address, port):
    """(QUEUED connections with a request sent, and nobody there to accept them; what is known of dials without an answer)."""
    unanswered = []

    def one():
        for _ in range(DIALS):
            sock = socket.socket()
            sock.settimeout(wire.STALL_LIMIT_S / DIALS)
            try:
                sock.connect((address, port))
                sock.settimeout(wire.STALL_LIMIT_S)
                return sock
            except socket.timeout:
                # It never was in the queue, so that the swap cannot have lost it; what the kernels know of it is for a person to read.
                unanswered.append(known_of(mesh, (caller, server), sock.getsockname()[1]))
                sock.close()
        raise AssertionError("no connection enters the queue: " + unanswered[-1])

    def dial():
        socks = []
        for _ in range(QUEUED):
            sock = one()
            sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            socks.append(sock)
        return socks

    return in_netns(netns_path(mesh.netns(caller)), dial), unanswered


def known_of(mesh, pods, port):
    """What the kernel knows of connections with that port, in the namespaces of pods and nodes."""
    told = "a dial from port %d had no answer:" % port
    spaces = [mesh.netns(pod) for pod in pods] + [mesh.lab.prefix + node for node in fabric.NODES]
    for space in spaces:
        for command in (["ss", "-Htanoie"], ["cat", "/proc/self/net/nf_conntrack"]):
            out = run(["ip", "netns", "exec", space] + command, check=False).stdout
            told += "".join("\n%s: %s" % (space, line) for line in out.splitlines() if re.search(r"[:=]%d\b" % port, line))
    return told


def renew(mesh):
    """Every node's ztunnel starts anew, with what the lab's settings are now."""
    for node in fabric.NODES:
        mesh.lab.stop_process("ztunnel on " + node, limit_s=40)
        mesh.lab.programs().start_ztunnel(node)
    mesh.eventually("production/client", "http://web.production/", 200, limit_s=40)


def swap(mesh, node, old, place, caller, address):
    """A second ztunnel starts in namespace `place` beside a first one that stands still while connections queue; then
    the first one gets its SIGTERM, with a transfer under way. Returns the second, the bytes of the transfer, and what is
    known of dials without an answer."""
    near, far = wire.connect(mesh, caller, "production/httpbin")
    first = Task(wire.send, near, MIB)
    got = wire.receive(far, MIB)
    wire.whole(first.result(), MIB, got, "before the swap")
    old.signal(signal.SIGSTOP)
    transfer = Task(wire.both_ways, near, far, 16 * MIB, "across the swap")
    queued, unanswered = dial_queue(mesh, caller, "production/httpbin", address, 8080)
    try:
        new = mesh.lab.programs().start_ztunnel(node, place=place)
        old.signal(signal.SIGTERM)
        old.signal(signal.SIGCONT)
        answers = [get(sock, None) for sock in queued]
    finally:
        old.signal(signal.SIGCONT)
        for sock in queued:
            sock.close()
    wrong = [answer for answer in answers if "200" not in answer]
    expect(not wrong, "%d of %d queued connections failed: %s" % (len(wrong), QUEUED, wrong[:3]))
    carried = MIB + transfer.result()
    near.close()
    far.close()
    wait_for("the older ztunnel to end", lambda: not old.alive(), 40)
    mesh.lab.stop_process(old.name)
    return new, carried, unanswered


@case("a newer ztunnel takes over from one with %d queued connections and an open transfer: none is reset, going out or coming in, "
      "and every byte arrives" % QUEUED)
def swapped(mesh):
    # A busy machine may need longer for the queue than a drain usually gives.
    mesh.lab.env = {"CONNECTION_TERMINATION_DEADLINE": "120s"}
    renew(mesh)
    address, carried, unanswered = mesh.ips("production/httpbin")[0], 0, []
    loads = [mesh.lab.load_from(pod, {"url": "http://%s:8080/" % address, "prefix": "swap-"})
             for pod in ("production/client", "staging/tester")]
    try:
        for caller, node in (("production/client", mesh.node("production/client")),
                             ("outside/plain", mesh.node("production/httpbin"))):
            beside = mesh.lab.process("ztunnel on " + node)
            for place in ("control", node):  # there and back, so that the lab is as it was
                beside, more, told = swap(mesh, node, beside, place, caller, address)
                mesh.eventually(caller, "http://%s:8080/" % address, 200)
                carried, unanswered = carried + more, unanswered + told
    finally:
        results = [load.stop() for load in loads]
    for result in results:
        expect(result["sent"] and not result["failures"], "%d of %d requests beside failed: %s" % (
            len(result["failures"]), len(result["sent"]), result["failures"][:3]))
    mesh.lab.env = {}
    renew(mesh)
    expect(len(unanswered) <= UNANSWERED_MAX, "\n".join(unanswered))
    return "\n".join(["%d queued connections in 4 swaps, %d requests and %d bytes beside, 0 resets" % (
        4 * QUEUED, sum(len(r["sent"]) for r in results), carried)] + unanswered)
