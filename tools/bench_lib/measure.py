"""The measurements. Each runs the load generator once in the client's pod and reads every clock exactly while it works."""
import json
import os
import select
import subprocess
import time

from lab_lib.shell import LabError, netns_path

from . import account
from .lanes import CLIENT

GIB = float(1 << 30)
STEP_LIMIT_S = 120
LATENCIES = ("p50_us", "p90_us", "p99_us", "p999_us", "max_us")


class Client:
    """One run of the load generator: opened, then work() once, then close()."""

    def __init__(self, lane, cpus, mode, options):
        ip, port = lane.target()
        argv = ["nsenter", "--net=" + netns_path(lane.netns(CLIENT)), "--", "taskset", "-c", str(cpus[0]),
                lane.settings.load, mode, ip, str(port)]
        for name, value in options.items():
            argv += ["--" + name, str(value)]
        self.lane, self.cpus, self.what = lane, set(cpus), "%s in lane %s" % (mode, lane.name)
        lane.pin(cpus)
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate()

    def line(self):
        """The generator's next line."""
        ready, _, _ = select.select([self.child.stdout], [], [], STEP_LIMIT_S)
        text = self.child.stdout.readline() if ready else b""
        if text:
            return json.loads(text)
        self.child.kill()
        said = self.child.stderr.read().decode(errors="replace").strip()
        self.lane.check_alive()
        raise LabError("%s %s" % (self.what, "said nothing for %d s" % STEP_LIMIT_S if not ready else "ended early: " + said))

    def go(self):
        self.child.stdin.write(b"\n")
        self.child.stdin.flush()

    def clocks(self):
        """(seconds on the wall, busy seconds of the lane's processors, processor seconds of each part of the path)"""
        parts = {"a": self.lane.pids("a"), "b": self.lane.pids("b"), "client": [self.child.pid],
                 "server": [self.lane.server.pid]}
        return time.monotonic(), account.busy_seconds(self.cpus), {k: account.seconds(v) for k, v in parts.items()}


def work(lane, cpus, mode, **options):
    """One measured run: (what the generator says, processor seconds by part, what others used of the same processors)."""
    with Client(lane, cpus, mode, options) as client:
        ready = client.line()
        if ready.get("errors") or ready["open"] < 1:
            raise LabError("%s: not all connections could be opened: %s" % (client.what, ready))
        wall, busy, before = client.clocks()
        client.go()
        done = client.line()
        wall_end, busy_end, after = client.clocks()
        client.go()
    used = {part: after[part] - before[part] for part in after}
    others = max(0.0, busy_end - busy - sum(used.values())) / max(wall_end - wall, 1e-6)
    return done, used, others


def _row(done, used, others, unit_count, scale):
    row = {"errors": done["errors"], "others": round(others, 3), "seconds": done["seconds"]}
    if unit_count:
        for part, value in used.items():
            row[part] = value / unit_count * scale
        row["proxies"] = row["a"] + row["b"]
        row["path"] = sum(used.values()) / unit_count * scale
    return row


def transfer(lane, cpus, mode, connections, size):
    done, used, others = work(lane, cpus, mode, connections=connections, bytes=size)
    return dict(_row(done, used, others, done["bytes"] / GIB, 1), gbps=done["gbps"])


def exchange(lane, cpus, mode, connections, size, count, limit_s):
    done, used, others = work(lane, cpus, mode, connections=connections, size=size, count=count, limit=limit_s)
    row = _row(done, used, others, done["count"], 1e6)
    return dict(row, per_second=done["per_second"], **{k: done[k] for k in LATENCIES})


def check(lane, cpus, size):
    """Every byte there and back; and that it went the way the lane says."""
    with Client(lane, cpus, "check", {"bytes": size}) as client:
        client.line()
        client.go()
        done = client.line()
        client.go()
    with Client(lane, cpus, "idle", {"connections": 1}) as client:
        client.line()
        tunnels = lane.tunnels()
        client.go()
        client.line()
        client.go()
    if done["errors"] or done["bytes"] != size:
        raise LabError("lane %s does not carry bytes faithfully: %s" % (lane.name, done))
    if lane.tls_port and not tunnels:
        raise LabError("lane %s does not use its tunnel: no connection to port %d in the server's pod"
                       % (lane.name, lane.tls_port))
    return {"errors": 0, "bytes": done["bytes"], "tunnels": tunnels}


def idle(lane, cpus, connections, settle_s):
    """What connections cost that only exist."""
    before = lane.memory()
    with Client(lane, cpus, "idle", {"connections": connections}) as client:
        opened = client.line()
        if opened["errors"]:
            raise LabError("%s: not all connections could be opened: %s" % (client.what, opened))
        time.sleep(settle_s)  # the time over which the processors' idle cost is counted
        wall, _, first = client.clocks()
        time.sleep(settle_s)
        wall_end, _, second = client.clocks()
        held, tunnels = lane.memory(), lane.tunnels()
        client.go()
        done = client.line()
        client.go()
    row = {"errors": done["errors"], "open": opened["open"], "tunnels": tunnels}
    for side in held:
        row["start_%s_kib" % side] = before[side]["rss"]
        row["held_%s_kib" % side] = held[side]["rss"]
        row["per_1000_%s_kib" % side] = (held[side]["rss"] - before[side]["rss"]) / opened["open"] * 1000
        row["idle_%s_cpu" % side] = (second[side] - first[side]) / (wall_end - wall)
    return row


def descriptors():
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def processors(layout):
    """Which processor the client's node and the server's node get."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1 if layout == "two" and len(allowed) > 1 else 0])
