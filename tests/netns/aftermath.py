"""What must be true after a fault: everybody reaches whom they reached, applications were not touched, no token of a request was
readable on the wire, and descriptors and memory are back."""
import os
import re
import secrets
import signal
import socket

import wire
from harness import Capture, LabError, enrolment, expect, fabric, programs, wait_for

SETTLE_LIMIT_S = 40
SETTLED_REQUESTS = 8        # in a row, so that each of a service's pods is most likely among them
DESCRIPTORS_MORE_MAX = 12   # pooled tunnels to peers that the warm-up did not meet
MEMORY_MORE_MAX_KIB = 24576  # malloc's arenas and caches after a burst; a leak of every connection shows above it
PAIRS = (("production/client", "http://web.production/"), ("production/client", "http://httpbin.production/"),
         ("staging/tester", "http://httpbin.production/"), ("production/httpbin", "http://web.production/"))
NAMES = ("weft-certs on control",) + tuple("%s on %s" % (p, n) for n in fabric.NODES for p in ("weft-agent", "ztunnel"))


def footprint(process):
    """(descriptors, private memory in KiB) of a running process."""
    with open("/proc/%d/status" % process.pid) as handle:
        anonymous = int(re.search(r"RssAnon:\s+(\d+)", handle.read()).group(1))
    return len(os.listdir("/proc/%d/fd" % process.pid)), anonymous


def wait_ready(mesh, node):
    wait_for("ztunnel on %s to be ready" % node, lambda: programs.http_get(
        mesh.lab.prefix + node, programs.ZTUNNEL_READY, "/healthz/ready")[0] == 200, SETTLE_LIMIT_S)


def kill(mesh, name):
    """kill -9, and the lab no longer expects it to live."""
    process = mesh.lab.process(name)
    process.signal(signal.SIGKILL)
    wait_for("the end of " + name, lambda: not process.alive(), 5)
    mesh.lab.stop_process(name)


def restart(mesh, name):
    program, place = name.split(" on ")
    if mesh.lab.process(name):
        return
    if program == "weft-certs":
        mesh.lab.programs().start_authority()
    elif program == "weft-agent":
        mesh.lab.programs().start_agent(place)
    else:
        mesh.lab.programs().start_ztunnel(place)


def request(sock, token):
    """Sends a GET that carries the token; the answer is not awaited."""
    sock.sendall(("GET / HTTP/1.1\r\nhost: x\r\nx-token: %s\r\n\r\n" % token).encode())


def outcome(sock, limit_s=30):
    """What a connection came to: the first bytes, b"" for an end, None for a reset. Nothing at all is a failure."""
    sock.settimeout(limit_s)
    try:
        return sock.recv(4096)
    except ConnectionError:
        return None
    except socket.timeout:
        raise AssertionError("who waited for %d s was neither answered nor told" % limit_s)


class Aftermath:
    """Made before the faults of a case; check() after each, close() after the last."""

    def __init__(self, mesh, name):
        self.mesh, self.tokens, self.faults = mesh, [], 0
        self._reach_all()
        self.applications = mesh.applications()
        self.before = {n: footprint(mesh.lab.process(n)) for n in NAMES}
        self.capture = Capture(mesh.lab, name)

    def token(self):
        self.tokens.append(secrets.token_hex(12))
        return self.tokens[-1]

    def reach(self, caller, url):
        """Waits until a whole row of requests succeeds: the pods of a service get their certificates again one by one."""
        ask = {"url": url, "count": SETTLED_REQUESTS, "headers": {"x-token": self.token()}}
        wait_for("%d answers in a row from %s to %s" % (SETTLED_REQUESTS, caller, url),
                 lambda: all(got["outcome"] == 200 for got in self.mesh.lab.ask(caller, [ask])), SETTLE_LIMIT_S)

    def _reach_all(self):
        for caller, url in PAIRS:
            self.reach(caller, url)

    def check(self, what):
        self.faults += 1
        try:
            for node in fabric.NODES:
                wait_ready(self.mesh, node)
            enrolment.wait_as_labelled(self.mesh.lab)
            self._reach_all()
            wait_for("descriptors and memory to be back", lambda: not self._excess(), SETTLE_LIMIT_S)
        except LabError as problem:
            raise AssertionError("after '%s': %s; %s" % (what, problem, self._excess()))
        expect(self.mesh.applications() == self.applications, "after '%s' applications are others" % what)

    def _excess(self):
        found = []
        for name in NAMES:
            now, then = footprint(self.mesh.lab.process(name)), self.before[name]
            if now[0] > then[0] + DESCRIPTORS_MORE_MAX or now[1] > then[1] + MEMORY_MORE_MAX_KIB:
                found.append("%s: %d descriptors and %d KiB, before %d and %d" % ((name,) + now + then))
        return found

    def close(self):
        self.capture.stop()
        seen = self.capture.seen(self.tokens)
        expect(not seen, "%d of %d tokens are readable on the wire" % (len(seen), len(self.tokens)))
        self.capture.remove()
        return "%d faults, %d tokens, none on the wire" % (self.faults, len(self.tokens))


def hold_and(mesh, name, reached, then):
    """Stops a process (None: nobody) now; once reached() holds, then() runs on a thread of its own."""
    process = mesh.lab.process(name) if name else None
    if process:
        process.signal(signal.SIGSTOP)

    def work():
        wait_for("the step to be reached", reached, 20)
        then()

    return process, wire.Task(work)
