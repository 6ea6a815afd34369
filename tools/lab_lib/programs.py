"""The real programs of the mesh, as the lab runs them: the certificate authority in the control namespace, on each node one
agent and one ztunnel. Order matters, because pods fail closed: authority, then agent, then ztunnel, then pods."""
import http.client
import os
import socket

from . import fabric
from .shell import LabError, Process, in_netns, netns_path, wait_for

CA_PORT = 15012
CA_STATUS_PORT = 15013
ZTUNNEL_ADMIN = 15000
ZTUNNEL_STATS = 15020
ZTUNNEL_READY = 15021
AGENT_METRICS = 15014
AGENT_READY = 8000
READY_LIMIT_S = 30

# What ztunnel's workers run on: settings, and how the line of its start describes it. The minimum is what a kernel of 5.19 has.
ENGINES = {"full": ({"WEFT_ENGINE": "io_uring"}, "io_uring (deferred completions, limited multishot receive)"),
           "minimum": ({"WEFT_ENGINE": "io_uring", "WEFT_URING_FEATURES": "none"},
                       "io_uring (immediate completions, single receives)"),
           "epoll": ({"WEFT_ENGINE": "epoll"}, "epoll (as configured)")}

# Who keeps the packet rules: a word, what makes the agent choose it, and how it names it in its log.
RULES = {"nft": ({"NATIVE_NFTABLES": "true"}, "by=\"nftables\""),
         "iptables": ({"FORCE_IPTABLES_BINARY": "nft"}, "by=\"iptables-nft and ip6tables-nft\""),
         "iptables-legacy": ({"FORCE_IPTABLES_BINARY": "legacy"}, "by=\"iptables-legacy and ip6tables-legacy\"")}

# Where a program is below a build folder, and below an unpacked release.
PLACES = {"ztunnel": ("ztunnel/ztunnel", "bin/ztunnel"),
          "weft-agent": ("cni-plugin/agent/weft-agent", "bin/weft-agent"),
          "weft-cni": ("cni-plugin/plugin/weft-cni", "bin/weft-cni"),
          "weftctl": ("tools/weftctl/weftctl", "bin/weftctl"),
          "weft-certs": ("certs/manager/weft-certs", "bin/weft-certs")}


def find(build, name):
    for place in PLACES[name]:
        path = os.path.join(build, place)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    raise LabError("%s is not in %s" % (name, build), "build first (tools/test --build-only), or name a build with --build")


def http_get(namespace, port, path, host="127.0.0.1", limit_s=2, method="GET"):
    """(status, text) of a page inside a namespace; (0, reason) when it cannot be had."""
    try:
        def connect():
            return socket.create_connection((host, port), limit_s)

        sock = in_netns(netns_path(namespace), connect)
        connection = http.client.HTTPConnection(host, port, timeout=limit_s)
        connection.sock = sock
        try:
            connection.request(method, path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode(errors="replace")
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as problem:
        return 0, str(problem)


def read_file(path):
    with open(path, errors="replace") as handle:
        return handle.read()


def base_env(extra):
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
    # Sanitizer builds and the like are steered from outside.
    env.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS") or k.startswith("WEFT_TEST_")})
    env.update(extra)
    return env


class Programs:
    """Starts programs for one lab. `folder` is the lab's private folder; processes are handed to `keep`."""

    def __init__(self, prefix, folder, build, keep, log_level="info", engine=None, rules=None, env=None, wrap=()):
        self.prefix, self.folder, self.build, self.keep, self.log_level = prefix, folder, build, keep, log_level
        self.env, self.wrap = env or {}, list(wrap)  # for every program: variables, and what starts it (prlimit ...)
        self.engine = engine  # a word of ENGINES, or None: as ztunnel chooses
        self.rules = rules  # a word of RULES, or None: as the agent chooses
        self.state = os.path.join(folder, "state")
        self.ca_folder = os.path.join(folder, "control", "ca")
        self.tokens = os.path.join(folder, "control", "tokens")

    def node_folder(self, node):
        return os.path.join(self.folder, node)

    def agent_run(self, node):
        return os.path.join(self.folder, node, "run")

    def zds_socket(self, node):
        return os.path.join(self.folder, node, "ztunnel.sock")

    def start(self, part, name, argv, env=None):
        log = os.path.join(self.folder, part, name + ".log")
        process = Process.start("%s on %s" % (name, part),
                                ["nsenter", "--net=" + netns_path(self.prefix + part), "--"] + self.wrap + argv, log,
                                env=base_env(dict(self.env, **(env or {}))), cwd=os.path.join(self.folder, part))
        self.keep(process)
        return process

    def until_ready(self, process, part, port, path):
        def probe():
            return http_get(self.prefix + part, port, path)[0] == 200

        wait_for("%s to say it is ready (http://127.0.0.1:%d%s in %s%s)" % (process.name, port, path, self.prefix, part),
                 probe, READY_LIMIT_S, "read " + process.log, process.check_alive)

    def start_authority(self, extra=()):
        os.makedirs(self.ca_folder, 0o700, exist_ok=True)
        os.makedirs(self.tokens, 0o700, exist_ok=True)
        v4, v6 = fabric.ADDRESS[fabric.CONTROL]
        process = self.start(fabric.CONTROL, "weft-certs", [
            find(self.build, "weft-certs"), "--listen", "%s:%d" % (v4, CA_PORT), "--ca-dir", self.ca_folder,
            "--manifest-dir", self.state, "--token-dir", self.tokens, "--server-name", v4,
            "--trust-domain", "cluster.local", "--status-port", str(CA_STATUS_PORT), *extra])
        self.until_ready(process, fabric.CONTROL, CA_STATUS_PORT, "/healthz/ready")
        return process

    def start_agent(self, node):
        os.makedirs(self.agent_run(node), 0o750, exist_ok=True)
        process = self.start(node, "weft-agent", [find(self.build, "weft-agent")], {
            "NODE_NAME": node, "ZTUNNEL_UDS_ADDRESS": self.zds_socket(node), "CNI_AGENT_RUN_DIR": self.agent_run(node),
            "MANIFEST_DIR": self.state, "MONITORING_PORT": str(AGENT_METRICS), "READINESS_PORT": str(AGENT_READY),
            **(RULES[self.rules][0] if self.rules else {})})
        self.until_ready(process, node, AGENT_READY, "/readyz")
        if self.rules and RULES[self.rules][1] not in read_file(process.log):
            raise LabError("%s does not keep its rules as asked for: %s" % (process.name, RULES[self.rules][1]),
                           "its log says how and why: " + process.log)
        return process

    def start_ztunnel(self, node, env=None, place=None):
        """`place`: another namespace to run in, where the node's own ztunnel has the status ports; it serves the node's pods
        all the same."""
        process = self.start_ztunnel_unready(node, env, place)
        self.until_ready(process, place or node, ZTUNNEL_READY, "/healthz/ready")
        if self.engine and ENGINES[self.engine][1] not in read_file(process.log):
            raise LabError("%s does not run on the engine asked for: %s" % (process.name, ENGINES[self.engine][1]),
                           "its log says which and why: " + process.log)
        return process

    def start_ztunnel_unready(self, node, env=None, place=None):
        token = os.path.join(self.tokens, node)
        wait_for("the authority to write the token of " + node, lambda: os.path.exists(token), READY_LIMIT_S,
                 "read " + os.path.join(self.folder, fabric.CONTROL, "weft-certs.log"))
        settings = {
            "PROXY_MODE": "shared", "NODE_NAME": node, "XDS_ADDRESS": "", "MANIFEST_DIR": self.state,
            "CA_ADDRESS": "https://%s:%d" % (fabric.ADDRESS[fabric.CONTROL][0], CA_PORT),
            "CA_ROOT_CA": os.path.join(self.ca_folder, "root-cert.pem"), "AUTH_TOKEN": token,
            "INPOD_UDS": self.zds_socket(node), "POD_NAME": "ztunnel-" + node, "POD_NAMESPACE": "istio-system",
            "SERVICE_ACCOUNT": "ztunnel", "RUST_LOG": self.log_level}
        settings.update(ENGINES[self.engine][0] if self.engine else {})
        settings.update(env or {})
        return self.start(place or node, "ztunnel", [find(self.build, "ztunnel"), "proxy", "ztunnel"], settings)
