"""tools/soak: a mesh under mixed traffic, in cycles that each end with a rest. At every rest the programs' descriptors and private
memory are read: what grows from rest to rest leaks. Latency is that of small requests while everything else goes on; a machine
that others use as well changes more in half an hour than we may, so in the end it is compared with that of programs just
started, in turns."""
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
COMPARED, COMPARED_S = 15, 10  # times that old and new programs take turns, and for how long each
# What a soak may show after the warm-up.
MEMORY_SLOPE_MAX = 200   # bytes a second
DESCRIPTOR_SLOPE_MAX = 1 / 3600
P99_DRIFT_MAX = 0.10     # of old programs against new ones
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


def drift(before, after):
    """By how much the median of some values is above that of others."""
    return statistics.median(after) / statistics.median(before) - 1 if before and after and all(before) else 0.0


def footprint(pid):
    with open("/proc/%d/status" % pid) as handle:
        anonymous = int(re.search(r"RssAnon:\s+(\d+)", handle.read()).group(1)) * 1024
    return len(os.listdir("/proc/%d/fd" % pid)), anonymous


class New(Weft):
    """Programs that have nothing behind them."""
    name = "weft-new"


class Soak:
    def __init__(self, lane):
        self.lane = lane
        self.names = [p["name"] for p in lane.lab.data["processes"] if p["name"].split(" on ")[0] in
                      ("weft-certs", "weft-agent", "ztunnel")]
        self.pids = {name: lane.lab.process(name).pid for name in self.names}
        self.samples = []  # (seconds, {name: (descriptors, bytes)}, p99 in us)
        self.done = {"requests": 0, "connections": 0, "bytes": 0, "ends": 0}
        self.p99s = ([], [])  # of new programs and of these, in turns
        self.problems = []
        self.objects, self.cpus = dict(lane.objects), measure.processors("two")
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

    def run_mixed(self, seconds):
        """Everything at its rate; the p99 of the small requests."""
        self.cycle += 1
        self.p99, self.end = 0, time.monotonic() + seconds
        parts = [threading.Thread(target=self.run_part, args=(part,)) for part in
                 (self.small, self.large, self.short, self.ends_of_all_kinds, self.changes)]
        for part in parts:
            part.start()
        for part in parts:
            part.join()
        return self.p99

    def run_cycle(self, began):
        p99 = self.run_mixed(TRAFFIC_S)
        self.run_part(self.full_speed)
        time.sleep(REST_S)
        self.lane.check_alive()
        now = time.monotonic() - began
        self.samples.append((now, {name: footprint(pid) for name, pid in self.pids.items()}, p99))

    def compare(self, other, say):
        """Takes turns with programs that were just started."""
        other.run_mixed(COMPARED_S)  # its pools and certificates are there
        for _ in range(COMPARED):
            if self.problems or other.problems:
                break
            for soak, p99s in zip((other, self), self.p99s):
                p99s.append(soak.run_mixed(COMPARED_S))
        self.problems += other.problems
        say("p99 of new programs %s, of these %s us" % tuple([int(p99) for p99 in p99s] for p99s in self.p99s))

    def run(self, minutes, say):
        began = time.monotonic()
        while time.monotonic() - began < minutes * 60 and not self.problems:
            self.run_cycle(began)
            now, prints, p99 = self.samples[-1]
            say("%5.1f min  %s  p99 %d us" % (now / 60, "  ".join("%s %d fd %.1f MiB" % (
                name.replace(" on ", "@").replace("node-", ""), prints[name][0], prints[name][1] / 2 ** 20)
                for name in self.names if name.startswith("ztunnel")), p99))

    def is_long_enough(self):
        return bool(self.samples) and self.samples[-1][0] >= WARM_UP_S + JUDGED_S

    def report(self):
        """(lines, whether it is as it must be; None when it was too short to say)."""
        measured = [s for s in self.samples if s[0] > WARM_UP_S] or self.samples[len(self.samples) // 2:]
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
        moved, p99s = drift(*self.p99s), [p99 for _, _, p99 in measured]
        good = good and all(self.p99s) and moved < P99_DRIFT_MAX
        third = len(p99s) // 3
        lines.append("p99 of small requests %d us, drift against new programs %+.1f %%; on this machine %+.1f %% meanwhile" % (
            p99s[-1], moved * 100, drift(p99s[:third], p99s[len(p99s) - third:]) * 100))
        return lines, good if self.is_long_enough() or self.problems else None


def parse(argv):
    parser = cli.Parser(prog="tools/soak", description=__doc__)
    parser.add_argument("--minutes", type=cli.positive, default=30, help="how long, less the comparison (default: 30)")
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
        lane, new = Weft(settings), New(settings)
        try:
            lane.start()
            soak = Soak(lane)
            soak.run(settings.minutes, cli.say)
            if soak.is_long_enough() and not soak.problems:
                new.start()
                soak.compare(Soak(new), cli.say)
        finally:
            lane.stop()
            new.stop()
    except LabError as problem:
        print("tools/soak: %s" % problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    lines, good = soak.report()
    print("\n".join(lines))
    print("soak: " + {True: "nothing grows", False: "FAILED", None: "too short to judge"}[good])
    return 1 if good is False else 0
