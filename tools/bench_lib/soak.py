"""tools/soak: a mesh under mixed traffic, in cycles that each end with a rest. At every rest the programs' descriptors and private
memory are read: what grows from rest to rest leaks. Latency is that of small requests while everything else goes on."""
import os
import re
import signal
import socket
import statistics
import struct
import sys
import threading
import time

from lab_lib import manifests
from lab_lib.lab import REPOSITORY
from lab_lib.shell import LabError, in_netns, netns_path

from . import cli, measure
from .lanes import CLIENT, Weft

WARM_UP_S = 300          # caches, pools and malloc's arenas fill
TRAFFIC_S, REST_S = 20, 12  # at rest for longer than ztunnel takes to give back what it no longer needs
# Everything beside the small requests has its rate too: with full processors their latency would be the scheduler's, and
# no drift of ours could be seen in it. What goes as fast as it can comes after them.
SMALL = {"connections": 16, "size": 256, "rate": 2000}
LARGE = {"connections": 2, "size": 128 << 10, "rate": 200}
SHORT = {"connections": 8, "size": 64, "rate": 200}
FULL_SPEED_BYTES = 256 << 20
ROUNDS_MAX = 10 ** 6     # more than a cycle has
# What a soak may show after the warm-up.
MEMORY_SLOPE_MAX = 200   # bytes a second
DESCRIPTOR_SLOPE_MAX = 1 / 3600
P99_DRIFT_MAX = 0.10
JUDGED_S = 600           # less time after the warm-up proves nothing
ENDS = 200               # of each kind a cycle
POLICY = ("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: soak, namespace: bench}\n"
          "spec: {action: DENY, rules: [{from: [{source: {principals: [nobody/round-%d]}}]}]}\n")


def slope(points):
    """Least squares: what y grows by for each x."""
    if len(points) < 2:
        return 0.0
    mean_x, mean_y = (statistics.fmean(p[i] for p in points) for i in (0, 1))
    below = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / below if below else 0.0


def drift(values):
    """By how much the median of the last third is above that of the first."""
    third = len(values) // 3
    if not third:
        return 0.0
    first = statistics.median(values[:third])
    return statistics.median(values[-third:]) / first - 1 if first else 0.0


def footprint(pid):
    with open("/proc/%d/status" % pid) as handle:
        anonymous = int(re.search(r"RssAnon:\s+(\d+)", handle.read()).group(1)) * 1024
    return len(os.listdir("/proc/%d/fd" % pid)), anonymous


class Soak:
    def __init__(self, lane):
        self.lane = lane
        self.names = [p["name"] for p in lane.lab.data["processes"] if p["name"].split(" on ")[0] in
                      ("weft-certs", "weft-agent", "ztunnel")]
        self.pids = {name: lane.lab.process(name).pid for name in self.names}
        self.samples = []  # (seconds, {name: (descriptors, bytes)}, p99 in us)
        self.done = {"requests": 0, "connections": 0, "bytes": 0, "ends": 0}
        self.problems = []
        self.objects = None
        self.cycle = 0

    # -------------------------------------------------------------- traffic
    def load(self, mode, **options):
        """One run of the load generator; what it said at its end."""
        with measure.Client(self.lane, self.cpus, mode, options) as client:
            opened = client.line()
            client.go()
            done = client.line()
            client.go()
        if opened.get("errors") or done.get("errors"):
            raise LabError("%s: %s %s" % (client.what, opened, done))
        return done

    def paced(self, mode, options):
        """Until the mixed traffic ends."""
        return self.load(mode, count=ROUNDS_MAX, limit=max(1, int(self.end - time.monotonic())), **options)

    def small(self):
        done = self.paced("ping", SMALL)
        self.done["requests"] += done["count"]
        self.p99 = done["p99_us"]

    def large(self):
        self.done["bytes"] += self.paced("ping", LARGE)["count"] * LARGE["size"] * 2

    def short(self):
        self.done["connections"] += self.paced("churn", SHORT)["count"]

    def full_speed(self):
        for mode in ("up", "down"):
            self.done["bytes"] += self.load(mode, connections=2, bytes=FULL_SPEED_BYTES)["bytes"]

    def ends_of_all_kinds(self):
        """Connections that idle, that nobody answers, and that are cut in the middle of a transfer."""
        ip, port = self.lane.target()

        def body():
            idle = []
            for number in range(ENDS):
                idle.append(socket.create_connection((ip, port), 10))
                try:
                    socket.create_connection((ip, port + 1), 10).recv(1)
                except OSError:
                    pass
                sock = socket.create_connection((ip, port), 10)
                sock.sendall(b"weftld1e" + bytes(8))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", number % 2, 0))
                sock.close()
                left = self.end - time.monotonic()
                time.sleep(max(0, left / (ENDS - number)))
            for sock in idle:
                sock.close()

        in_netns(netns_path(self.lane.netns(CLIENT)), body)
        self.done["ends"] += ENDS * 3

    def changes(self):
        """The mesh's policies change under all of it."""
        policy = {manifests.key_of(o): o for o in manifests.parse(POLICY % self.cycle, "the soak's policy")}
        self.lane.lab.apply(dict(self.objects, **policy))

    # -------------------------------------------------------------- cycles
    def run_part(self, part):
        try:
            part()
        except (LabError, OSError) as problem:
            self.problems.append("%s: %s" % (part.__name__, problem))

    def run_cycle(self, began):
        self.cycle += 1
        self.p99, self.end = 0, time.monotonic() + TRAFFIC_S
        parts = [threading.Thread(target=self.run_part, args=(part,)) for part in
                 (self.small, self.large, self.short, self.ends_of_all_kinds, self.changes)]
        for part in parts:
            part.start()
        for part in parts:
            part.join()
        self.run_part(self.full_speed)
        time.sleep(REST_S)
        self.lane.check_alive()
        now = time.monotonic() - began
        self.samples.append((now, {name: footprint(pid) for name, pid in self.pids.items()}, self.p99))

    def run(self, minutes, objects, say):
        self.objects, self.cpus = objects, measure.processors("two")
        began = time.monotonic()
        while time.monotonic() - began < minutes * 60 and not self.problems:
            self.run_cycle(began)
            now, prints, p99 = self.samples[-1]
            say("%5.1f min  %s  p99 %d us" % (now / 60, "  ".join("%s %d fd %.1f MiB" % (
                name.replace(" on ", "@").replace("node-", ""), prints[name][0], prints[name][1] / 2 ** 20)
                for name in self.names if name.startswith("ztunnel")), p99))

    def report(self):
        """(lines, whether it is as it must be; None when it was too short to say)."""
        measured = [s for s in self.samples if s[0] > WARM_UP_S] or self.samples[len(self.samples) // 2:]
        long_enough = self.samples and self.samples[-1][0] >= WARM_UP_S + JUDGED_S
        good, lines = not self.problems, list(self.problems)
        lines.append("%d cycles, of which %d count; %d requests, %d connections, %.1f GiB, %d idle, refused or cut" % (
            len(self.samples), len(measured), self.done["requests"], self.done["connections"],
            self.done["bytes"] / measure.GIB, self.done["ends"]))
        for name in self.names:
            descriptors = slope([(t, prints[name][0]) for t, prints, _ in measured])
            memory = slope([(t, prints[name][1]) for t, prints, _ in measured])
            good = good and abs(descriptors) <= DESCRIPTOR_SLOPE_MAX and memory < MEMORY_SLOPE_MAX
            lines.append("%-22s descriptors %+.2f an hour, RssAnon %+.0f B/s (%.1f MiB)" % (
                name, descriptors * 3600, memory, measured[-1][1][name][1] / 2 ** 20))
        moved = drift([p99 for _, _, p99 in measured])
        good = good and moved < P99_DRIFT_MAX
        lines.append("p99 of small requests %d us, drift %+.1f %%" % (measured[-1][2], moved * 100))
        return lines, good if long_enough or self.problems else None


def parse(argv):
    parser = cli.Parser(prog="tools/soak", description=__doc__)
    parser.add_argument("--minutes", type=cli.positive, default=30, help="how long (default: 30)")
    parser.add_argument("--build", default=os.path.join(REPOSITORY, "build"), metavar="DIR", help="(default: build)")
    parser.add_argument("--workers", type=cli.count, default=2, help="worker threads of each ztunnel (default: 2)")
    parser.set_defaults(log=True)
    return parser.parse_args(argv)


def main(argv):
    settings = parse(argv)
    if os.geteuid():
        print("tools/soak needs root: it makes network namespaces. Run it with sudo.", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, cli.interrupted)
    try:
        settings.build = os.path.abspath(settings.build)
        settings.load = cli.find_load(settings)
        if not settings.load:
            raise LabError("the load generator is not built", "ninja -C build tests/bench/load")
        measure.descriptors()
        lane = Weft(settings)
        try:
            lane.start()
            soak = Soak(lane)
            soak.run(settings.minutes, dict(lane.objects), lambda text: print(text, flush=True))
        finally:
            lane.stop()
    except LabError as problem:
        print("tools/soak: %s" % problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    lines, good = soak.report()
    print("\n".join(lines))
    print("soak: " + {True: "nothing grows", False: "FAILED", None: "too short to judge"}[good])
    return 1 if good is False else 0
