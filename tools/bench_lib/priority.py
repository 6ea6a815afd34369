"""A processor share so large that other work on the machine gives way while the benchmark runs. Figures then depend less on
what else happens; how much still ran is in every row as `others`."""
import contextlib
import os
import time

# Version 1 of control groups where that is mounted, else version 2: folder, name of the share, its largest value.
_KINDS = (("/sys/fs/cgroup/cpu", "cpu.shares", 262144), ("/sys/fs/cgroup", "cpu.weight", 10000))
_EMPTY_LIMIT_S = 5


def _join(folder):
    with open(os.path.join(folder, "cgroup.procs"), "w") as handle:
        handle.write(str(os.getpid()))


def _own(controller_folder):
    """The group this process is in now."""
    controller = os.path.basename(controller_folder) if controller_folder != "/sys/fs/cgroup" else ""
    with open("/proc/self/cgroup") as handle:
        for line in handle:
            _, names, path = line.rstrip("\n").split(":", 2)
            if controller in names.split(","):
                return controller_folder + path
    return controller_folder


@contextlib.contextmanager
def raised(name):
    """This process and those it starts meanwhile are in a group of their own. Yields whether that could be had: without it
    the benchmark still runs."""
    made = before = None
    for folder, knob, value in _KINDS:
        path = os.path.join(folder, name)
        try:
            before = _own(folder)
            os.mkdir(path)
            made = path
            with open(os.path.join(path, knob), "w") as handle:
                handle.write(str(value))
            _join(path)
            break
        except OSError:
            _remove(made)
            made = None
    try:
        yield made is not None
    finally:
        if made:
            _join(before)
            _remove(made)


def _remove(path):
    end = time.monotonic() + _EMPTY_LIMIT_S
    while path and os.path.isdir(path):
        try:
            os.rmdir(path)
        except OSError:
            if time.monotonic() > end:  # somebody is still in it
                return
            time.sleep(0.05)
