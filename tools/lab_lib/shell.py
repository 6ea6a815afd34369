"""Commands, namespaces and background processes. Everything has a time limit; a failure says what, where and what to do."""
import ctypes
import json
import os
import signal
import subprocess
import threading
import time

COMMAND_LIMIT_S = 30
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """A step failed. `hint` tells the reader what to do about it."""

    def __init__(self, what, hint=""):
        super().__init__(what + ("\n  what to do: " + hint if hint else ""))


def run(argv, data=None, env=None, limit=COMMAND_LIMIT_S, check=True, hint=""):
    """Runs a command to its end; returns the completed process (text streams)."""
    try:
        done = subprocess.run(argv, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
                              timeout=limit)
    except FileNotFoundError:
        raise LabError("command not found: %s" % argv[0], hint or "run tools/setup, it installs what the lab needs")
    except subprocess.TimeoutExpired:
        raise LabError("no end after %d s: %s" % (limit, " ".join(argv)), hint)
    if check and done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing")
        raise LabError("failed with %d: %s\n  it said: %s" % (done.returncode, " ".join(argv), said[-1500:]), hint)
    return done


def netns_path(name):
    return "/run/netns/" + name


def enter(path):
    """Moves the calling thread into the network namespace at `path`."""
    with open(path) as handle:
        if _libc.setns(handle.fileno(), CLONE_NEWNET):
            number = ctypes.get_errno()
            raise LabError("cannot enter %s: %s" % (path, os.strerror(number)), "run as root")


def in_netns(path, body):
    """Runs body() in a thread of its own inside the namespace and returns what it returned. Sockets made there stay there."""
    box = {}

    def work():
        try:
            enter(path)
            box["value"] = body()
        except BaseException as problem:  # handed to the caller below
            box["problem"] = problem

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if "problem" in box:
        raise box["problem"]
    return box["value"]


def set_sysctl(path, values):
    """Writes sysctls inside a namespace; `values` maps a path below /proc/sys to text."""
    def body():
        for key, value in values.items():
            with open("/proc/sys/" + key, "w") as handle:
                handle.write(value)

    in_netns(path, body)


def wait_for(what, probe, limit_s, hint="", alive=None):
    """Polls probe() until it returns something true. `alive`, when given, may raise to end the wait early."""
    end = time.monotonic() + limit_s
    pause = 0.005
    while True:
        value = probe()
        if value:
            return value
        if alive:
            alive()
        if time.monotonic() > end:
            raise LabError("waited %g s for %s" % (limit_s, what), hint)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def write_file(path, text, mode=0o600):
    """Replaces a file in one step: readers see the old content or the new, never a part."""
    folder, name = os.path.split(path)
    temp = os.path.join(folder, ".%s.%d.tmp" % (name, os.getpid()))
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temp, path)


def tail(path, size=1500):
    try:
        with open(path, errors="replace") as handle:
            return handle.read()[-size:].strip()
    except OSError as problem:
        return "(%s)" % problem


# ------------------------------------------------------------------ background processes
def start_time(pid):
    """Clock ticks since boot at which the process started, or None when there is none (or only its remains). While a thread is
    left of a killed process its ports are taken, although its first thread, by which it is known, may have ended."""
    try:
        with open("/proc/%d/stat" % pid) as handle:
            fields = handle.read().rsplit(")", 1)[1].split()
        state, threads, started = fields[0], int(fields[17]), int(fields[19])
        return None if state in "ZX" and threads <= 1 else started
    except (OSError, IndexError):
        return None


class Process:
    """A background process known by pid and start time, so that a number used again is never mistaken for it."""

    def __init__(self, name, pid, started, log):
        self.name, self.pid, self.started, self.log = name, pid, started, log

    @classmethod
    def start(cls, name, argv, log, env=None, ready_pipe=False, cwd="/"):
        """Starts argv in a session of its own, output appended to `log`. With `ready_pipe` its last argument is the number of
        a descriptor to which it writes a byte once it serves; returns (process, reading end) then."""
        reader = writer = None
        if ready_pipe:
            reader, writer = os.pipe()
            argv = argv + [str(writer)]
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor, env=env, cwd=cwd,
                                     start_new_session=True, pass_fds=[writer] if ready_pipe else [])
        except FileNotFoundError:
            raise LabError("cannot start %s: %s does not exist" % (name, argv[0]), "build first: tools/test --build-only")
        finally:
            os.close(descriptor)
            if ready_pipe:
                os.close(writer)
        _children[child.pid] = child
        process = cls(name, child.pid, start_time(child.pid), log)
        return (process, reader) if ready_pipe else process

    def alive(self):
        child = _children.get(self.pid)
        if child:
            child.poll()  # collects its remains
        return self.started is not None and start_time(self.pid) == self.started

    def exit_code(self):
        """Of a child of this process that is no longer alive(), negative for a signal."""
        return _children[self.pid].wait(5)

    def check_alive(self):
        if not self.alive():
            raise LabError("%s has ended by itself; the end of %s:\n%s" % (self.name, self.log, tail(self.log)))

    def signal(self, number):
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def to_json(self):
        return {"name": self.name, "pid": self.pid, "started": self.started, "log": self.log}

    @classmethod
    def from_json(cls, value):
        return cls(value["name"], value["pid"], value["started"], value["log"])


_children = {}


def stop_all(processes, limit_s=10):
    """Asks all to end, waits, then kills what is left. Returns the names of those that had to be killed."""
    for process in processes:
        process.signal(signal.SIGTERM)
    killed = []
    end = time.monotonic() + limit_s
    for process in processes:
        while process.alive() and time.monotonic() < end:
            time.sleep(0.01)
        if process.alive():
            killed.append(process.name)
            process.signal(signal.SIGKILL)
    for process in processes:
        wait_for("the end of " + process.name, lambda p=process: not p.alive(), 5)
    return killed


def dump_json(value):
    return json.dumps(value, indent=1, sort_keys=True)
