"""What the programs of a node gave up when they started: capabilities, system calls, new privileges. And that the mesh does
without it."""
import os

from aftermath import NAMES, kill, restart
from harness import Skip, case, expect
from suite_failures import LATECOMER

SCENARIO = "policies"
URL = "http://web.production/"
# linux/capability.h
DAC_OVERRIDE, DAC_READ_SEARCH, SETPCAP, NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN = 1, 2, 8, 12, 13, 19, 21
KEPT = {"weft-certs": (), "ztunnel": (NET_ADMIN, SYS_ADMIN),
        "weft-agent": (DAC_READ_SEARCH, NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN)}
# What the Helm charts of Istio give to ztunnel and to the node agent.
CHART = {"weft-certs": (), "ztunnel": (NET_ADMIN, NET_RAW, SYS_ADMIN),
         "weft-agent": (DAC_OVERRIDE, NET_ADMIN, NET_RAW, SYS_PTRACE, SYS_ADMIN)}


def bits(capabilities):
    return sum(1 << number for number in capabilities)


def statuses(process):
    """{thread: {key: text}} of a running process, its first thread among them."""
    found = {}
    for thread in os.listdir("/proc/%d/task" % process.pid):
        try:
            with open("/proc/%d/task/%s/status" % (process.pid, thread)) as handle:
                fields = dict(line.rstrip("\n").split(":\t", 1) for line in handle if ":\t" in line)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        found["%s %s" % (fields["Name"], thread)] = fields
    expect(any(name.endswith(" %d" % process.pid) for name in found), "process %d has ended" % process.pid)
    return found


def check_confined(mesh, name, kept, bounding):
    """Every thread of the program holds `kept` and nothing else; returns how many there are."""
    expected = {"CapPrm": kept, "CapEff": kept, "CapInh": 0, "CapAmb": 0, "CapBnd": bounding}
    threads = statuses(mesh.lab.process(name))
    for thread, fields in threads.items():
        sets = {key: int(fields[key], 16) for key in expected}
        expect(sets == expected, "%s, thread %s: %s instead of %s" % (name, thread, sets, expected))
        expect((fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2"), "%s, thread %s: NoNewPrivs %s, Seccomp %s" % (
            name, thread, fields["NoNewPrivs"], fields["Seccomp"]))
    return len(threads)


def own_capabilities():
    with open("/proc/self/status") as handle:
        return next(int(line.split()[1], 16) for line in handle if line.startswith("CapEff:"))


def check_traffic(mesh):
    """Requests in the mesh, and a pod that joins it."""
    mesh.eventually("production/client", URL, 200)
    mesh.apply(LATECOMER % "production")
    mesh.eventually("production/latecomer", URL, 200)
    mesh.reset()


@case("every thread of ztunnel, agent and authority keeps the capabilities that it needs, can gain none, and is filtered")
def confined(mesh):
    needed = bits(KEPT["weft-agent"] + (SETPCAP,))
    if own_capabilities() & needed != needed:
        raise Skip("this root has less than the programs would keep")
    check_traffic(mesh)
    threads = 0
    for name in NAMES:
        program = name.split(" ")[0]
        kept = bits(KEPT[program])
        threads += check_confined(mesh, name, kept, kept if program == "weft-agent" else 0)
        with open(mesh.lab.process(name).log) as handle:
            lines = [line for line in handle if "confined" in line]
        expect(lines and "capabilities=" in lines[-1] and 'system_calls="yes"' in lines[-1], "%s says %s" % (name, lines))
    return "%d threads" % threads


@case("programs that are given what a container is given start, keep no more of it than they need, and the mesh works")
def given_less(mesh):
    if not own_capabilities() & bits((SETPCAP,)):
        raise Skip("this root cannot give less to others")
    names = {bit: name for bit, name in ((DAC_OVERRIDE, "dac_override"), (NET_ADMIN, "net_admin"), (NET_RAW, "net_raw"),
                                         (SYS_PTRACE, "sys_ptrace"), (SYS_ADMIN, "sys_admin"))}
    try:
        for name in NAMES:
            program = name.split(" ")[0]
            given = CHART[program]
            # The agent makes do with the right to override where it has not that to read alone.
            kept = bits(DAC_OVERRIDE if bit == DAC_READ_SEARCH else bit for bit in KEPT[program])
            mesh.lab.wrap = ["setpriv", "--bounding-set", ",".join(["-all"] + ["+" + names[bit] for bit in given]), "--"]
            kill(mesh, name)
            restart(mesh, name)
            # Who may not cut the bounding set keeps it; without new privileges it gives nothing.
            check_confined(mesh, name, kept, bits(given))
        check_traffic(mesh)
    finally:
        mesh.lab.wrap = []
        for name in NAMES:
            kill(mesh, name)
            restart(mesh, name)
    check_traffic(mesh)
