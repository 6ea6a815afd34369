"""Command line of tools/bench, and a run from beginning to end."""
import argparse
import json
import os
import platform
import shutil
import signal
import sys
import time

from lab_lib.lab import REPOSITORY
from lab_lib.shell import LabError

from . import measure, priority, report
from .lanes import Lane, Weft
from .peers import Haproxy, Nginx
from .upstream import FromUpstream, ToUpstream, Upstream

USAGE_ERROR = 64
DEFAULT_LANES = [Lane, Nginx, Haproxy, Weft]
LANES = {lane.name: lane for lane in DEFAULT_LANES + [Upstream, ToUpstream, FromUpstream]}
CHECK_BYTES = 64 << 20
DOCS = os.path.join(REPOSITORY, "docs", "performance.md")
LAYOUTS = {"one": "everything on one processor, so that waking an idle one is not measured",
           "two": "a processor for each node"}

# What is measured: name, function of (lane, processors, scale), where it runs. Counts are for a scale of 1.
BULK = [("up-1", "up", 1), ("up-16", "up", 16), ("down-1", "down", 1), ("down-16", "down", 16)]
ROUND_TRIPS = [("ping-1b-1", 1, 1, 20000), ("ping-1b-64", 64, 1, 60000), ("ping-1k-1", 1, 1024, 20000),
               ("ping-1k-64", 64, 1024, 60000)]
CHURN_COUNT = 3000
CHURN_PARALLEL = 16
STEP_S = 20        # a measurement begins no new work after that
SETTLE_S = 3


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, "tools/bench: %s\n" % message)


def positive(text):
    value = float(text)
    if not 0 < value < 1000000:
        raise ValueError(text)
    return value


def count(text):
    value = int(text)
    if not 0 < value < 1000000:
        raise ValueError(text)
    return value


def parse(argv):
    parser = Parser(prog="tools/bench", formatter_class=argparse.RawDescriptionHelpFormatter, description=(
        "Compares our ztunnel with plain TCP, nginx and HAProxy (mutual TLS for TCP) in one run: the lanes take turns in every\n"
        "round, medians are printed as Markdown. Needs root, and quiet on the machine; everything it starts and makes is gone\n"
        "in the end. It measures the release in dist/ (tools/release makes it)."))
    parser.add_argument("--build", help="measure the programs of another build folder or release", metavar="DIR",
                        default=os.path.join(REPOSITORY, "dist"))
    parser.add_argument("--lanes", metavar="LANE,...", help="which to compare (default: %s; also: %s)" % (
        ",".join(lane.name for lane in DEFAULT_LANES),
        ", ".join("%s, a ztunnel of upstream at %s" % pair for pair in
                  (("upstream", "both ends"), ("to-upstream", "the server's"), ("from-upstream", "the client's")))))
    parser.add_argument("--upstream", metavar="PROGRAM", help="a build of upstream's ztunnel, for the lanes that have one; "
                        "without --lanes, lane upstream is added")
    parser.add_argument("--rounds", type=count, default=5, help="how often every lane is measured (default: 5)")
    parser.add_argument("--gib", type=positive, default=1, help="size of a bulk transfer (default: 1)")
    parser.add_argument("--workers", type=count, default=1, help="worker threads of every proxy (default: 1)")
    parser.add_argument("--idle-connections", type=count, default=2000, help="held for the memory figures (default: 2000)")
    parser.add_argument("--no-access-log", dest="log", action="store_false", help="switch it off in every lane")
    parser.add_argument("--quick", action="store_true", help="2 rounds of a tenth of the work: to see that all of it runs")
    parser.add_argument("--out", metavar="FILE", help="write every row and the conditions as JSON")
    parser.add_argument("--keep-logs", metavar="DIR", help="copy what every program wrote there, a folder for each lane")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/performance.md")
    settings = parser.parse_args(argv)
    settings.upstream = settings.upstream and os.path.abspath(settings.upstream)
    standard = [lane.name for lane in DEFAULT_LANES + [Upstream] * bool(settings.upstream)]
    settings.lanes = settings.lanes.split(",") if settings.lanes else standard
    for name in settings.lanes:
        if name not in LANES:
            parser.error("there is no lane %r; lanes: %s" % (name, ", ".join(LANES)))
    settings.scale = 0.1 if settings.quick else 1
    if settings.quick:
        settings.rounds = 2
        settings.idle_connections = max(1, settings.idle_connections // 10)
    return settings


def find_load(settings):
    places = [os.path.join(folder, "tests", "bench", "load")
              for folder in (settings.build, os.path.join(REPOSITORY, "build"))]
    return next((place for place in places if os.access(place, os.X_OK)), None)


def require(settings):
    """Nothing is compared when a part of the comparison is missing: a table with holes gets read as one without."""
    settings.build = os.path.abspath(settings.build)
    settings.load = find_load(settings)
    settings.descriptors = measure.descriptors()
    missing = [] if settings.load else ["the load generator (ninja -C build tests/bench/load)"]
    missing += ["%s (tools/setup)" % name for name in ("openssl", "ip", "nsenter", "taskset", "nft")
                if not shutil.which(name)]
    if 4 * settings.idle_connections + 1024 > settings.descriptors:
        missing.append("descriptors: %d idle connections need a limit of %d, it is %d (ulimit -n; or --idle-connections)"
                       % (settings.idle_connections, 4 * settings.idle_connections + 1024, settings.descriptors))
    for name in settings.lanes:
        missing += getattr(LANES[name], "missing", lambda _: [])(settings)
    if missing:
        raise LabError("cannot compare, this is missing:\n    " + "\n    ".join(missing),
                       "install or build it, or leave lanes out with --lanes")


# ------------------------------------------------------------------ the run
def say(text):
    print(text, file=sys.stderr, flush=True)


class Run:
    def __init__(self, settings):
        self.settings = settings
        self.lanes = [LANES[name](settings) for name in settings.lanes]
        self.rows = []
        self.two, self.one = measure.processors("two"), measure.processors("one")

    def record(self, lane, name, number, row):
        self.rows.append(dict({"measure": name, "lane": lane.name, "round": number}, **row))
        say("  %-8s %-10s %s" % (lane.name, name, " ".join("%s=%s" % (k, report.number(v)) for k, v in row.items()
                                                         if isinstance(v, (int, float)) and k in
                                                         ("gbps", "p50_us", "per_second", "a", "b", "path", "errors"))))

    def whole(self):
        memory = {}
        for lane in self.lanes:
            say("starting lane " + lane.name)
            lane.start()
            memory[lane.name] = {}
        # Idle connections first: programs keep memory of what they did before.
        for lane in self.lanes:
            if lane.proxies:
                memory[lane.name].update(measure.idle(lane, self.one, self.settings.idle_connections, SETTLE_S))
        for lane in self.lanes:
            self.record(lane, "check", 0, measure.check(lane, self.two, CHECK_BYTES))
        for number in range(self.settings.rounds):
            say("round %d of %d" % (number + 1, self.settings.rounds))
            for name, one_measurement in self.measurements():
                # A lane is not always measured after the same neighbour.
                for lane in self.lanes[number % len(self.lanes):] + self.lanes[:number % len(self.lanes)]:
                    self.record(lane, name, number, one_measurement(lane))
        for lane in self.lanes:
            memory[lane.name].update({"end_%s_kib" % side: m["rss"] for side, m in lane.memory().items()})
            if lane.proxies:
                self.record(lane, "memory", 0, memory[lane.name])
        return {"conditions": self.conditions(), "rows": self.rows}

    def measurements(self):
        settings = self.settings
        for name, mode, connections in BULK:
            size = int(settings.gib * settings.scale * measure.GIB)
            yield name, lambda lane, m=mode, c=connections, s=size: measure.transfer(lane, self.two, m, c, s)
        for name, connections, size, rounds in ROUND_TRIPS:
            rounds = int(rounds * settings.scale)
            yield name, lambda lane, c=connections, s=size, n=rounds: measure.exchange(lane, self.one, "ping", c, s, n, STEP_S)
        total = int(CHURN_COUNT * settings.scale)
        yield "churn", lambda lane: measure.exchange(lane, self.one, "churn", CHURN_PARALLEL, 1, total, STEP_S)

    def conditions(self):
        with open("/proc/cpuinfo") as handle:
            model = next((line.partition(":")[2].strip() for line in handle if line.startswith("model name")), "unknown")
        lanes = {}
        for lane in self.lanes:
            cipher, size = lane.tls() or (None, None)
            lanes[lane.name] = {"version": lane.version(), "cipher": cipher, "certificates": size}
        settings = self.settings
        return {"date": time.strftime("%Y-%m-%d"), "rounds": settings.rounds, "gib": settings.gib * settings.scale,
                "machine": "%s, %d processors, Linux %s" % (model, os.cpu_count(), platform.release()),
                "workers": settings.workers, "log": settings.log, "congestion": "reno",
                "idle_connections": settings.idle_connections, "lanes": lanes,
                "bulk_layout": LAYOUTS["two" if self.two[0] != self.two[1] else "one"], "small_layout": LAYOUTS["one"]}

    def to_the_end(self):
        try:
            return self.whole()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            self.stop()

    def stop(self):
        for lane in self.lanes:
            try:
                if self.settings.keep_logs:
                    lane.copy_logs(os.path.join(self.settings.keep_logs, lane.name))
                lane.stop()
            except (OSError, LabError) as problem:
                say("cleaning up lane %s: %s" % (lane.name, problem))


def interrupted(number, _frame):
    raise KeyboardInterrupt(number)


def main(argv):
    settings = parse(argv)
    if os.geteuid():
        print("tools/bench needs root: it makes network namespaces. Run it with sudo.", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, interrupted)
    try:
        require(settings)
        with priority.raised("weft-bench") as raised:
            result = Run(settings).to_the_end()
        if not raised:
            say("other work on the machine could not be made to give way: no processor control group could be made")
        text = report.markdown(result)
        if settings.out:
            with open(settings.out, "w") as handle:
                json.dump(result, handle, indent=1)
                handle.write("\n")
        if settings.write_docs:
            report.write_docs(DOCS, text)
        print(text, end="")
    except LabError as problem:
        print("tools/bench: %s" % problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    failed = [row for row in result["rows"] if row.get("errors")]
    for row in failed:
        print("tools/bench: errors in %(measure)s, lane %(lane)s, round %(round)s: %(errors)s" % row, file=sys.stderr)
    return 1 if failed else 0
