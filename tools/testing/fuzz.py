"""Runs fuzz targets: tools/fuzz for people, run_all() for continuous integration.

Seeds are tests/fuzz/corpus/NAME, in the tree. What a run finds new stays in the build folder, so that the next run begins
where the last one ended; an input that breaks a target is kept there too, and named."""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from . import meson
from .clang import ASAN, ASAN_BUILD, CLANG, SANITIZER_ENV, clang_env
from .native import ROOT
from .report import Report, Tally, headline, say

FOLDER = os.path.join(ROOT, "tests", "fuzz")
BUILD_LIMIT_S = 3600
INPUT_LIMIT_S, MEMORY_MB = 10, 2048  # of one input: far more than any honest message costs
_EXECUTED = re.compile(r"stat::number_of_executed_units: +(\d+)")


def targets():
    with open(os.path.join(FOLDER, "meson.build")) as lines:
        return sorted(re.findall(r"^  '(\w+)': \[", lines.read(), re.MULTILINE))


def run_one(build, name, seconds):
    """(passed, seconds taken, inputs tried, the end of the output)"""
    began = time.monotonic()
    found = os.path.join(build, "tests", "fuzz", "found", name)
    os.makedirs(found, exist_ok=True)
    argv = [os.path.join(build, "tests", "fuzz", "fuzz_" + name), "-max_total_time=%d" % seconds,
            "-timeout=%d" % INPUT_LIMIT_S, "-rss_limit_mb=%d" % MEMORY_MB, "-verbosity=0", "-print_final_stats=1",
            "-artifact_prefix=%s-broken-" % found, found]
    seeds = os.path.join(FOLDER, "corpus", name)
    env = dict(os.environ)
    env.update(SANITIZER_ENV)
    try:
        done = subprocess.run(argv + ([seeds] if os.path.isdir(seeds) else []), env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=seconds * 2 + 120)
    except subprocess.TimeoutExpired:
        return False, time.monotonic() - began, 0, "no end after %d s" % (seconds * 2 + 120)
    executed = _EXECUTED.search(done.stdout)
    return done.returncode == 0, time.monotonic() - began, int(executed.group(1)) if executed else 0, done.stdout[-4000:]


def run_all(report, build, names, seconds, at_once):
    """Every target for `seconds`, `at_once` side by side; each counts as one case."""
    headline("fuzzing, %d s each" % seconds)
    with ThreadPoolExecutor(at_once) as pool:
        for name, (good, took, tried, output) in zip(names, pool.map(lambda n: run_one(build, n, seconds), names)):
            say("-- fuzz %s: %s (%.0f s, %d inputs)" % (name, "ok" if good else "FAILED", took, tried))
            report.tally.add(Tally(passed=int(good), failed=int(not good)))
            if not good:
                say(output)
                report.trouble.append("fuzz " + name)


def main():
    parser = argparse.ArgumentParser(
        prog="tools/fuzz", description="Builds fuzz targets with clang and sanitizers and runs them. The last line is the sum.",
        epilog="An input that breaks a target is named in the output; `build-asan/tests/fuzz/fuzz_NAME FILE` repeats it, and "
               "`ninja -C build tests/fuzz/replay_NAME` makes a program that does so without clang.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, metavar="N", help="targets side by side (default: "
                        "as many as processors)")
    parser.add_argument("--build", default=ASAN_BUILD, metavar="DIR", help="build folder (default: build-asan)")
    parser.add_argument("--list", action="store_true", help="name the targets and end")
    parser.add_argument("names", nargs="*", metavar="NAME", help="targets; none means all")
    args = parser.parse_args()
    known = targets()
    if args.list:
        say("\n".join(known))
        return 0
    unknown = [name for name in args.names if name not in known]
    if unknown:
        parser.error("no target %s; there are: %s" % (", ".join(unknown), ", ".join(known)))
    if not shutil.which(CLANG):
        say("%s is not installed; tools/setup build ci installs it" % CLANG)
        return 69
    names = args.names or known
    clang_env()
    report = Report()
    built = meson.configure(args.build, ASAN, ROOT)
    done = meson.compile_all(args.build, ["tests/fuzz/fuzz_" + name for name in names], BUILD_LIMIT_S) if built else None
    if not done or done.status or done.timed_out:
        report.failed("build", "see above")
        return report.finish()
    run_all(report, args.build, names, args.seconds, max(args.at_once, 1))
    return report.finish()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
