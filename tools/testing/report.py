"""Steps with a time limit, and the sum of what they passed, failed and skipped."""
import os
import re
import signal
import subprocess
import sys
import threading
import time

_SUM = re.compile(r"(\d+) passed, (\d+) failed, (\d+) skipped$")
_FAILED = re.compile(r"FAILED +(.*)$")
_FAILURES_TOLD = 20  # of a step, at the end of the run; all of them stand where they happened
_GRACE_S = 60  # between asking a step to end and killing it: a namespace suite takes its labs down in that time


class Tally:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return "%d passed, %d failed, %d skipped" % (self.passed, self.failed, self.skipped)

    @classmethod
    def parse(cls, line):
        match = _SUM.match(line.strip())
        return cls(*map(int, match.groups())) if match else None


class Finished:
    """How a step ended: exit status, the last sum it printed (None without one), what it said had failed and the first line
    of why, whether its time was up."""

    def __init__(self, status, tally, failures, timed_out, seconds):
        self.status, self.tally, self.failures = status, tally, failures
        self.timed_out, self.seconds = timed_out, seconds


def say(text):
    print(text, flush=True)


def headline(text):
    say("== " + text)


def run(argv, limit_s, cwd=None, env=None, nice=0):
    """Runs a step in a process group of its own and passes its lines on, sums excepted: only the whole run prints one."""
    began = time.monotonic()
    process = subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
                               preexec_fn=(lambda: os.nice(nice)) if nice else None)
    timed_out = threading.Event()

    def end(number):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass

    def expire():
        timed_out.set()
        end(signal.SIGTERM)
        killer.start()

    killer = threading.Timer(_GRACE_S, end, [signal.SIGKILL])
    timer = threading.Timer(limit_s, expire)
    for thread in (killer, timer):
        thread.daemon = True
    timer.start()
    tally, failures, before = None, [], ""
    try:
        for line in process.stdout:
            failed, why = _FAILED.match(line), _FAILED.match(before)
            if failed and len(failures) < _FAILURES_TOLD:
                failures.append(failed.group(1).strip())
            elif why and failures and line.startswith(" "):
                failures[-1] += ": " + line.strip()
            before = line
            found = Tally.parse(line)
            if found:
                tally = found
            else:
                sys.stdout.write(line)
                sys.stdout.flush()
        status = process.wait()
    except BaseException:  # Ctrl-C or the like: the step ends with us, in order
        end(signal.SIGTERM)
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            end(signal.SIGKILL)
        raise
    finally:
        timer.cancel()
        killer.cancel()
    return Finished(status, tally, failures, timed_out.is_set(), time.monotonic() - began)


class Report:
    """All steps of a run. `finish` prints what took how long and what failed, then the sum as the last line, and returns the
    exit status."""

    def __init__(self):
        self.tally = Tally()
        self.trouble, self.times = [], []
        self.began = time.monotonic()

    def add(self, tally, seconds=None, name=""):
        self.tally.add(tally)
        if seconds is not None:
            self.times.append("%s %.0f s" % (name, seconds))
        if name:
            say("-- %s: %s%s" % (name, tally, "" if seconds is None else "  (%.0f s)" % seconds))

    def passed(self, name, seconds=None):
        self.add(Tally(passed=1), seconds, name)

    def failed(self, name, why=""):
        self.trouble.append(name + (": " + why if why else ""))
        self.add(Tally(failed=1), name=name + (" (%s)" % why if why else ""))

    def skipped(self, name, why):
        self.add(Tally(skipped=1), name="%s, left out: %s" % (name, why))

    def step(self, name, argv, limit_s, **more):
        """A command that counts as one case; True when it passed."""
        headline(name)
        done = run(argv, limit_s, **more)
        if done.status or done.timed_out:
            self.failed(name, "no end after %d s" % limit_s if done.timed_out else "exit status %d" % done.status)
            return False
        self.passed(name, done.seconds)
        return True

    def suite(self, name, argv, limit_s, **more):
        """A command that prints its own sum; True when nothing in it failed."""
        headline(name)
        done = run(argv, limit_s, **more)
        if done.tally:
            self.add(done.tally, done.seconds, name)
            if done.tally.failed:
                self.trouble += ["%s: %s" % (name, what) for what in done.failures or ["%d failed" % done.tally.failed]]
        if done.timed_out:
            self.failed(name, "no end after %d s" % limit_s)
        elif not done.tally:
            self.failed(name, "exit status %d and no sum" % done.status)
        elif done.status and not done.tally.failed:
            self.failed(name, "exit status %d" % done.status)
        return bool(done.tally) and not done.status and not done.timed_out and not done.tally.failed

    def finish(self):
        if len(self.times) > 1:
            say("times: " + ", ".join(self.times))
        for line in self.trouble:
            say("FAILED  " + line)
        if self.tally.passed == 0 and self.tally.failed == 0:
            say("nothing ran")
        say("whole run: %.0f s" % (time.monotonic() - self.began))
        say(str(self.tally))
        return 1 if self.tally.failed or self.tally.passed == 0 else 0
