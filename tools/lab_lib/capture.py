"""Watches the wire: tcpdump on the ports of the bridge between the nodes and on each node's pod bridge, and a search of what it
wrote. A capture is only a proof when nothing was dropped and when it saw what came last, so both are checked."""
import os
import re
import secrets
import signal
import socket

from . import fabric
from .shell import LabError, Process, in_netns, netns_path, stop_all, tail, wait_for

BETWEEN_NODES = tuple(("fabric", "to-" + node) for node in fabric.NODES)
WITHIN_NODES = tuple((node, fabric.POD_BRIDGE) for node in fabric.NODES)
START_LIMIT_S = 20
BUFFER_KIB = 65536  # packets that wait while others have the processors: a transfer's for some tenths of a second


class Capture:
    """Runs from construction to stop(); then `count` and `contains` search by content."""

    def __init__(self, lab, name, points=BETWEEN_NODES + WITHIN_NODES):
        self.lab, self.points, self.processes, self.files = lab, points, [], {}
        for part, port in points:
            path = os.path.join(lab.folder, "control", "%s-%s-%s.pcap" % (name, part, port))
            log = path[:-5] + ".tcpdump.log"
            process = Process.start("tcpdump on %s of %s" % (port, part), [
                "nsenter", "--net=" + netns_path(lab.prefix + part), "--", "tcpdump", "-i", port, "-n", "-U", "-s", "0",
                "-B", str(BUFFER_KIB), "--immediate-mode", "-Z", "root", "-w", path], log)
            lab.keep(process)
            self.processes.append(process)
            self.files[(part, port)] = path
            wait_for(process.name + " to listen", lambda: "listening on" in tail(log), START_LIMIT_S, "read " + log,
                     process.check_alive)

    def stop(self):
        """Ends the capture once a marker sent now has been seen at every point."""
        marker = secrets.token_hex(16).encode()
        pods = {r["node"]: r["ips"][0] for r in self.lab.data["pods"].values() if r["ips"]}
        addresses = [fabric.ADDRESS[node][0] for node in fabric.NODES] + list(pods.values())
        expected = [p for p in self.points if p in BETWEEN_NODES or p[0] in pods]

        def send():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for address in addresses:
                    try:
                        sock.sendto(marker, (address, 9))
                    except OSError:
                        pass

        def seen():
            in_netns(netns_path(self.lab.prefix + fabric.CONTROL), send)
            return all(marker in self._bytes(point) for point in expected)

        wait_for("the captures to catch up", seen, 30)
        for process in self.processes:
            process.signal(signal.SIGINT)
        stop_all(self.processes)
        gone = {p.pid for p in self.processes}
        self.lab.data["processes"] = [p for p in self.lab.data["processes"] if p["pid"] not in gone]
        self.lab.save()
        for process in self.processes:
            dropped = re.search(r"(\d+) packets dropped by kernel", tail(process.log))
            if not dropped or int(dropped.group(1)):
                raise LabError("%s did not see everything: %s" % (process.name, tail(process.log, 300)),
                               "the machine is too busy for a proof; try again")

    def _bytes(self, point):
        with open(self.files[point], "rb") as handle:
            return handle.read()

    def count(self, tokens, points=None):
        """How many of the tokens occur at any of the points."""
        data = [self._bytes(point) for point in points or self.points]
        return sum(any(token.encode() in part for part in data) for token in tokens)

    def seen(self, tokens, points=None):
        data = [self._bytes(point) for point in points or self.points]
        return [token for token in tokens if any(token.encode() in part for part in data)]

    def size(self, points=None):
        return sum(os.path.getsize(self.files[point]) for point in points or self.points)

    def remove(self):
        for path in self.files.values():
            if os.path.exists(path):
                os.unlink(path)
