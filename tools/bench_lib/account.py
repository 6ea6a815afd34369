"""What processes cost: processor time, resident memory, and where they may run. Read from outside, for any program alike."""
import os
import time

_SCHED_CLOCK = 2  # kind of a process's own clock that counts every nanosecond it ran (CPUCLOCK_SCHED)


def family(pid):
    """The process and all its descendants."""
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in os.listdir("/proc/%d/task" % pid):
                with open("/proc/%d/task/%s/children" % (pid, task)) as handle:
                    todo += [int(word) for word in handle.read().split()]
        except OSError:
            pass  # it ended meanwhile
    return found


def seconds(pids):
    """Processor time of the processes so far, with that of threads that have ended. Kernel work done in their context counts,
    as this is how the scheduler keeps its books."""
    return sum(time.clock_gettime((~pid << 3) | _SCHED_CLOCK) for pid in pids)


def busy_seconds(cpus):
    """Seconds in which these processors did anything for anybody. In steps of 10 ms."""
    ticks = 0
    with open("/proc/stat") as handle:
        for line in handle:
            name, *fields = line.split()
            if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in cpus:
                fields = [int(word) for word in fields[:8]]
                ticks += sum(fields) - fields[3] - fields[4]  # all but idle and waiting for disks
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pids):
    """KiB: resident (shared pages of a family counted in each process), and of it proportional and anonymous; threads."""
    total = {"rss": 0, "pss": 0, "anon": 0, "threads": 0}
    for pid in pids:
        with open("/proc/%d/status" % pid) as handle:
            status = dict(line.split(":", 1) for line in handle)
        total["rss"] += int(status["VmRSS"].split()[0])
        total["anon"] += int(status["RssAnon"].split()[0])
        total["threads"] += int(status["Threads"])
        with open("/proc/%d/smaps_rollup" % pid) as handle:
            total["pss"] += sum(int(line.split()[1]) for line in handle if line.startswith("Pss:"))
    return total


def pin(pids, cpu):
    """Lets the processes, with every thread they have, run on one processor only. Later threads inherit that."""
    for pid in pids:
        for task in os.listdir("/proc/%d/task" % pid):
            try:
                os.sched_setaffinity(int(task), {cpu})
            except ProcessLookupError:
                pass  # the thread ended meanwhile
