"""Builds with Meson and counts what its tests ran.

What is counted: the cases of a Catch2 program, as its own last lines sum them up; any other test counts as one. A program
that ends without such lines, by a crash or at its time limit, is one failed case, whatever it had passed before."""
import json
import os
import re
import subprocess

from .report import Tally, headline, run, say

_ALL_PASSED = re.compile(r"^All tests passed \(.* in (\d+) test cases?\)", re.MULTILINE)
_COLUMNS = re.compile(r"^test cases: +(\d+) \|(.*)$", re.MULTILINE)
_COLUMN = re.compile(r"(\d+) (passed|failed as expected|failed|skipped)")
# What a test sums itself up with: what it was given or found, as a number.
_SUM = re.compile(r"^(rows: \d+ of \d+|\d+ seeds, \d+ failures|\d+ steps, \d+ calls .*)$", re.MULTILINE)
# Version 2 of Catch2 cannot skip; the SKIP of tests/support/catch2_compat says it in a warning instead.
_SKIPPED_IN_WORDS = re.compile(r"^ +(?:SKIPPED |skipped: )(.*)$", re.MULTILINE)


def configure(build, options, source):
    """Sets a build folder up unless it is; True when it is usable."""
    if os.path.exists(os.path.join(build, "build.ninja")):
        return True
    done = run(["meson", "setup", *options, build, source], limit_s=300)
    if done.status:
        say("the build folder %s cannot be set up (exit status %d)" % (build, done.status))
    return done.status == 0


def compile_all(build, targets=(), limit_s=3600, nice=0):
    return run(["ninja", "-C", build, *targets], limit_s, nice=nice)


def introspect(build):
    """[(name, suites)] of all tests."""
    text = subprocess.run(["meson", "introspect", "--tests", build], stdout=subprocess.PIPE, check=True, text=True).stdout
    return [(test["name"], [suite.split(":")[-1] for suite in test["suite"]]) for test in json.loads(text)]


def count(result, output):
    """(tally, reasons for skips) of one test, from Meson's verdict and what the program printed."""
    if result == "SKIP":
        return Tally(skipped=1), []
    good = result in ("OK", "EXPECTEDFAIL")
    tally = Tally()
    whole, columns = _ALL_PASSED.search(output), _COLUMNS.search(output)
    if whole:
        tally.passed = int(whole.group(1))
    elif columns:
        for number, word in _COLUMN.findall(columns.group(2)):
            word = "passed" if word == "failed as expected" else word
            setattr(tally, word, getattr(tally, word) + int(number))
    elif good:
        tally.passed = 1
    reasons = _SKIPPED_IN_WORDS.findall(output)
    moved = min(len(reasons), tally.passed)
    tally.passed -= moved
    tally.skipped += moved
    if not good and tally.failed == 0:
        tally = Tally(failed=1)
    return tally, reasons


def run_tests(build, names=(), multiplier=1, limit_s=900, env=None, nice=0, jobs=0):
    """(tally, seconds, names of the tests that failed). No name means all."""
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    argv = ["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs", "--timeout-multiplier", str(multiplier)]
    if jobs:
        argv += ["--num-processes", str(jobs)]
    done = run(argv + list(names), limit_s, env=env, nice=nice)
    tally, failed = Tally(), []
    try:
        with open(log) as lines:
            for line in lines:
                entry = json.loads(line)
                one, reasons = count(entry["result"], entry.get("stdout") or "")
                tally.add(one)
                for reason in reasons:
                    say("skipped %s: %s" % (entry["name"], reason))
                for line in _SUM.findall(entry.get("stdout") or ""):
                    say("-- %s: %s" % (entry["name"].split(" / ")[-1], line))
                if one.failed:
                    failed.append(entry["name"].split(" / ")[-1])
    except (OSError, ValueError) as problem:
        say("no log of the tests: %s" % problem)
        tally.add(Tally(failed=1))
        failed.append("meson test")
    if (done.timed_out or done.status) and not failed:
        tally.add(Tally(failed=1))
        failed.append("meson test (exit status %d)" % done.status)
    return tally, done.seconds, failed


def build_and_test(report, title, build, options, source, targets=(), names=(), build_limit_s=3600, test_limit_s=900,
                   multiplier=1, env=None, nice=0):
    """One configuration from nothing to a counted result; True when it built."""
    headline("%s: build" % title)
    if not configure(build, options, source):
        report.failed("%s: build" % title, "cannot be set up")
        return False
    done = compile_all(build, targets, build_limit_s, nice)
    if done.timed_out:  # a slow machine, not a wrong program: left out, and said so
        report.skipped(title, "the build had not ended after %d s" % build_limit_s)
        return False
    if done.status:
        report.failed("%s: build" % title, "see above")
        return False
    say("-- %s: built (%.0f s)" % (title, done.seconds))
    report.times.append("%s, build %.0f s" % (title, done.seconds))
    headline("%s: tests" % title)
    tally, seconds, failed = run_tests(build, names, multiplier, test_limit_s, env, nice)
    report.add(tally, seconds, title)
    report.trouble += ["%s: %s" % (title, name) for name in failed]
    return True
