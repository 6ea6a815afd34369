"""The ways from a client in one pod to a server in another that are compared. Each has a lab of its own, so that all exist at
once and measurements can alternate between them. Every lab has the same network; the proxies differ.

    plain     client ----------------------------------------------- server
    nginx     client - nginx    ===== mutual TLS, one per connection ===== nginx   - server
    haproxy   client - HAProxy  ===== mutual TLS, one per connection ===== HAProxy - server
    weft      client - ztunnel  ===== mutual TLS, shared by connections === ztunnel - server

A proxy's sockets are in the pods' namespaces in every lane, as ztunnel's have to be: three TCP connections, of which only the
middle one leaves a pod. nginx and HAProxy are dialled by the client on 127.0.0.1; ztunnel captures, which costs connection
tracking, and knows identities and policy, which the others do not."""
import os
import re
import shutil
import socket

from lab_lib import enrolment, fabric, manifests, programs
from lab_lib.lab import Lab
from lab_lib.shell import LabError, Process, in_netns, netns_path, run, wait_for

from . import account

SERVER_PORT = 7000
CONNECT_LIMIT_S = 5
ECHO_REQUEST = b"weftld1e" + bytes(8)  # tests/bench/load/protocol.h
CLIENT, SERVER = "bench/client", "bench/server"
PODS = """
apiVersion: v1
kind: Namespace
metadata: {name: bench%s}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: bench}
spec: {nodeName: node-a, serviceAccountName: client}
---
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: bench}
spec: {nodeName: node-b, serviceAccountName: server}
"""


class Lane:
    """A plain lane, and what all lanes share. `settings` is the command line's view: load, build, workers, log."""

    name = "plain"
    mesh = False
    tls_port = None
    lab_class = Lab

    def __init__(self, settings):
        self.settings = settings
        self.lab = self.lab_class("bench-" + self.name, settings.build, self.mesh)
        self.server = None
        self.objects = {}
        self.proxies = {}  # "a" and "b": the client's and the server's proxy, as Process

    # -------------------------------------------------------------- life
    def start(self):
        """Everything, pods and proxies included, ready to be measured."""
        self.start_lab()
        label = ", labels: {istio.io/dataplane-mode: ambient}" if self.mesh else ""
        objects = {manifests.key_of(o): o for o in manifests.parse(PODS % label, "the benchmark's pods")}
        self.objects = objects
        self.lab.apply(objects)
        self.start_proxies()
        self.server = self.run_in(SERVER, "load", [self.settings.load, "serve", "0.0.0.0", str(SERVER_PORT)])
        self.until_listening(SERVER, SERVER_PORT, self.server)
        wait_for("lane %s to carry a connection" % self.name, self.carries, programs.READY_LIMIT_S,
                 "look at the logs (--keep-logs)", self.check_alive)

    def carries(self):
        """Whether the server can be reached now: a proxy may still be waiting for its certificate."""
        def body():
            with socket.create_connection(self.target(), CONNECT_LIMIT_S) as stream:
                stream.sendall(ECHO_REQUEST)
                return stream.recv(1) == b"k"

        try:
            return in_netns(netns_path(self.netns(CLIENT)), body)
        except OSError:
            return False

    def start_lab(self):
        self.lab.start()

    def start_proxies(self):
        pass

    def stop(self):
        if self.lab.exists() or fabric.list_namespaces(self.lab.prefix):
            self.lab.stop()

    def copy_logs(self, target):
        for folder, _, names in os.walk(self.lab.folder):
            for name in names:
                if name.endswith(".log"):
                    inside = os.path.relpath(os.path.join(folder, name), self.lab.folder)
                    os.makedirs(target, exist_ok=True)
                    shutil.copy(os.path.join(folder, name), os.path.join(target, inside.replace("/", "-")))

    def run_in(self, pod, name, argv):
        """Starts a program in a pod's network. The lab ends it with everything else."""
        process = Process.start(name, ["nsenter", "--net=" + netns_path(self.netns(pod)), "--"] + argv,
                                os.path.join(self.lab.folder, name + "-" + pod.split("/")[1] + ".log"))
        self.lab.keep(process)
        return process

    def until_listening(self, pod, port, process):
        wait_for("%s to listen on port %d" % (process.name, port),
                 lambda: port in enrolment.listening(self.netns(pod)), programs.READY_LIMIT_S, "read " + process.log,
                 process.check_alive)

    # -------------------------------------------------------------- facts
    def netns(self, pod):
        return self.lab.data["pods"][pod]["netns"]

    def address(self, pod):
        return self.lab.data["pods"][pod]["ips"][0]

    def target(self):
        """Where the client dials."""
        return self.address(SERVER), SERVER_PORT

    def tunnels(self):
        """Established TLS connections that end in the server's pod."""
        def body():
            with open("/proc/thread-self/net/tcp") as four, open("/proc/thread-self/net/tcp6") as six:
                rows = [line.split() for handle in (four, six) for line in handle.readlines()[1:]]
            return sum(row[1].endswith(":%04X" % self.tls_port) and row[3] == "01" for row in rows)

        return in_netns(netns_path(self.netns(SERVER)), body) if self.tls_port else 0

    def tls(self):
        """What the server's proxy negotiates with a stranger that offers everything: (cipher, octets of its certificates)."""
        if not self.tls_port:
            return None
        done = run(["nsenter", "--net=" + netns_path(self.lab.prefix + "node-a"), "--", "openssl", "s_client", "-connect",
                    "%s:%d" % (self.address(SERVER), self.tls_port), "-alpn", "h2", "-showcerts"], data="", check=False)
        cipher = next((line.rpartition(" ")[2] for line in done.stdout.splitlines() if ", Cipher is " in line), "none")
        size = sum(len("".join(part.split("-----END")[0].split())) * 3 // 4
                   for part in done.stdout.split("-----BEGIN CERTIFICATE-----")[1:])
        return cipher, size

    def version(self):
        return ""

    # -------------------------------------------------------------- accounts
    def pids(self, side):
        return account.family(self.proxies[side].pid) if side in self.proxies else []

    def check_alive(self):
        for process in [self.server, *self.proxies.values()]:
            process.check_alive()

    def pin(self, cpus):
        """cpus: (processor of the client's side, processor of the server's side)."""
        account.pin(self.pids("a"), cpus[0])
        account.pin(self.pids("b") + [self.server.pid], cpus[1])

    def memory(self):
        return {side: account.memory(self.pids(side)) for side in self.proxies}


class WeftLab(Lab):
    """A lab whose ztunnels get the benchmark's settings."""

    ztunnel_env = {}

    def programs(self):
        made = super().programs()
        plain_start = made.start_ztunnel_unready
        made.start_ztunnel_unready = lambda node, env=None, place=None: plain_start(
            node, dict(self.ztunnel_env, **(env or {})), place)
        return made


class Weft(Lane):
    name = "weft"
    mesh = True
    tls_port = 15008
    lab_class = WeftLab

    def __init__(self, settings):
        super().__init__(settings)
        self.lab.ztunnel_env = {"ZTUNNEL_WORKER_THREADS": str(settings.workers),
                                "RUST_LOG": "info" if settings.log else "warn"}

    @staticmethod
    def missing(settings):
        found = []
        for program in ("weft-certs", "weft-agent", "weft-cni", "ztunnel"):
            try:
                programs.find(settings.build, program)
            except LabError:
                found.append("%s in %s (make the release with tools/release, or name a build with --build)"
                             % (program, settings.build))
        return found

    def start_proxies(self):
        enrolment.wait_as_labelled(self.lab)
        for side, node in zip("ab", fabric.NODES):
            self.proxies[side] = self.lab.process("ztunnel on " + node)

    def version(self):
        return version_of(programs.find(self.settings.build, "ztunnel"))


def version_of(ztunnel):
    """The parts of a ztunnel's word about itself that matter for its speed."""
    said = dict(re.findall(r'(\w+):"([^"]*)"', run([ztunnel, "version"], check=False).stdout))
    return ", ".join(said[part] for part in ("Version", "BuildProfile", "CryptoProvider") if said.get(part))
