"""What the namespace suites share: a lab per suite, requests with their proof, and the runner's bookkeeping.

A suite is a module suite_NAME.py with SCENARIO (a folder below tests/scenarios) or objects(), optionally MESH = False and
unavailable() (why it cannot be tried here, or None), and cases: functions decorated with @case("sentence"). A case receives the
Mesh and fails by raising; text that it returns, such as counts, is printed."""
import copy
import os
import socket
import sys
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPOSITORY, "tools"))
from lab_lib import enrolment, evidence, fabric, manifests, matrix, programs  # noqa: E402,F401  (suites use them from here)
from lab_lib.capture import Capture  # noqa: E402,F401
from lab_lib.lab import Lab  # noqa: E402
from lab_lib.shell import LabError, in_netns, netns_path, wait_for  # noqa: E402,F401

SETTLE_LIMIT_S = 10


class Skip(Exception):
    """The case cannot be tried here; the text says why."""


def case(sentence):
    def mark(function):
        function.sentence = sentence
        return function

    return mark


def scenario(name):
    reader = manifests.Folder(os.path.join(REPOSITORY, "tests", "scenarios", name))
    objects = reader.read()
    if reader.problems:
        raise LabError("; ".join(reader.problems.values()))
    return objects


def objects_of(text):
    return {manifests.key_of(o): o for o in manifests.parse(text, "a case's own objects")}


class Mesh:
    """The lab of one suite, and the objects it was last brought to."""

    def __init__(self, lab, objects):
        self.lab, self.base, self.objects = lab, copy.deepcopy(objects), copy.deepcopy(objects)

    # -------------------------------------------------------------- objects
    def find(self, kind, name, namespace=None, objects=None):
        for item in (self.objects if objects is None else objects).values():
            if item["kind"] == kind and item["metadata"]["name"] == name and \
                    namespace in (None, item["metadata"].get("namespace", "")):
                return item
        raise LabError("the scenario has no %s %s" % (kind, name))

    def apply(self, text="", without=(), change=None):
        """Brings the lab to the objects it has plus `text`, minus `without` ("Kind/name"), after change(objects)."""
        for word in without:
            kind, name = word.split("/")
            del self.objects[manifests.key_of(self.find(kind, name))]
        self.objects.update(objects_of(text))
        if change:
            change(self.objects)
        self.lab.apply(copy.deepcopy(self.objects))

    def reset(self):
        self.objects = copy.deepcopy(self.base)
        self.lab.apply(copy.deepcopy(self.objects))
        if self.lab.data["mesh"]:
            enrolment.wait_as_labelled(self.lab)

    def label(self, namespace, mode):
        """Sets or removes a namespace's mesh label and waits until its pods are in or out."""
        labels = self.find("Namespace", namespace)["metadata"].setdefault("labels", {})
        labels.pop("istio.io/dataplane-mode", None)
        if mode:
            labels["istio.io/dataplane-mode"] = mode
        self.apply()
        enrolment.wait_as_labelled(self.lab)

    # -------------------------------------------------------------- requests
    def ask(self, caller, url, **more):
        return self.lab.ask(caller, [dict(more, url=url)])[0]

    def eventually(self, caller, url, outcome, limit_s=SETTLE_LIMIT_S, times=2, **more):
        """Asks until that comes back, then a few times more: a change takes a moment to arrive, and must then stay."""
        last = {}

        def probe():
            last.update(self.ask(caller, url, **more))
            return last["outcome"] == outcome

        try:
            wait_for("%s from %s to %s" % (outcome, caller, url), probe, limit_s)
        except LabError as problem:
            raise LabError("%s; it was %s %s" % (problem, last.get("outcome"), last.get("error", "")))
        for got in self.lab.ask(caller, [dict(more, url=url, count=times)]):
            expect(got["outcome"] == outcome, "%s to %s gave %s first and then %s %s"
                   % (caller, url, outcome, got["outcome"], got.get("error", "")))
        return last

    def refused(self, caller, url, reason, **more):
        """The request is refused, the refusing node's log says why, and its counter counts it. Returns the log line."""
        self.eventually(caller, url, "closed", **more)
        key = self.lab.find_pod(caller)
        before = {node: self.denied(node) for node in fabric.NODES}
        logs = evidence.Logs(self.lab)
        got = self.ask(caller, url, **more)
        expect(got["outcome"] == "closed", "%s to %s gave %s" % (caller, url, got["outcome"]))
        node, line = logs.wait_line("refusal of " + key, evidence.inbound_from(self.lab.data["pods"][key]["ips"]))
        expect(reason in line["error"], "the log of %s says %r, not %r" % (node, line["error"], reason))
        wait_for("the counter of refusals on %s to move" % node, lambda: self.denied(node) > before[node], 5)
        return line

    def denied(self, node):
        return evidence.total(evidence.metrics(self.lab, node), "istio_tcp_connections_closed_total",
                              reporter="destination", response_flags="DENY")

    def ips(self, word):
        return self.lab.data["pods"][self.lab.find_pod(word)]["ips"]

    def node(self, word):
        return self.lab.data["pods"][self.lab.find_pod(word)]["node"]

    def netns(self, word):
        return self.lab.data["pods"][self.lab.find_pod(word)]["netns"]

    def connect(self, caller, address, port, limit_s=10):
        """A socket of this process that lives in the caller's namespace."""
        return in_netns(netns_path(self.netns(caller)), lambda: socket.create_connection((address, port), limit_s))

    def applications(self):
        return {key: (r["uid"], r["process"]["pid"], r["process"]["started"]) for key, r in self.lab.data["pods"].items()}


def get(sock, path="/"):
    """One GET on an open connection (None: it was sent already); returns the status line, or what went wrong as text."""
    try:
        if path:
            sock.sendall(("GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path).encode())
        reply = b""
        while b"\r\n\r\n" not in reply:
            part = sock.recv(65536)
            if not part:
                return "closed"
            reply += part
        head, _, body = reply.partition(b"\r\n\r\n")
        length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")))
        while len(body) < length:
            part = sock.recv(65536)
            if not part:
                return "closed"
            body += part
        return head.split(b"\r\n")[0].decode()
    except OSError as problem:
        return "closed (%s)" % problem


def expect(good, text):
    if not good:
        raise AssertionError(text)


def monotonic():
    return time.monotonic()
