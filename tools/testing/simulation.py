"""Runs seeds of the whole-program simulation (tests/sim): tools/sim for people."""
import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from . import meson
from .native import OPTIONS, ROOT
from .report import say

PIECE = 500  # seeds a process runs before its sums are told
MUTANTS = os.path.join(ROOT, "tests", "sim", "mutants")
MUTANT_SEEDS = 1000  # within which every planted bug must be found
_FAILED = re.compile(r"^seed (\d+) FAILED: (.*)$")
_END = re.compile(r"^(\d+) seeds, (\d+) failures$")


def run_piece(program, first, seeds, until_failure=False):
    """(seeds run, failures, lines of failures) of one process; ended without its last line, everything counts as failed."""
    argv = [program, "--first", str(first), "--seeds", str(seeds)] + (["--until-failure"] if until_failure else [])
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          errors="replace")
    lines = done.stdout.splitlines()
    match = _END.match(lines[-1]) if lines else None
    if not match:
        return seeds, seeds, ["seeds %d to %d: the process ended with status %d" % (first, first + seeds - 1, done.returncode)]
    return int(match.group(1)), int(match.group(2)), [line for line in lines if line.startswith("seed ")]


def run_range(program, first, seeds, jobs):
    began = time.monotonic()
    total = failures = 0
    pieces = [(at, min(PIECE, first + seeds - at)) for at in range(first, first + seeds, PIECE)]
    with ThreadPoolExecutor(jobs) as pool:
        for ran, failed, lines in pool.map(lambda piece: run_piece(program, *piece), pieces):
            total, failures = total + ran, failures + failed
            for line in lines:
                say(line)
            if len(pieces) > 1:
                took = time.monotonic() - began
                say("-- %d seeds so far, %d failures, %.1f seeds a second" % (total, failures, total / max(took, 0.001)))
    say("%d seeds, %d failures" % (total, failures))
    return 1 if failures else 0


def fails_again(program, line):
    """Whether the seed that a line names fails the same way when it is repeated alone."""
    seed, failure = _FAILED.match(line).groups()
    done = subprocess.run([program, "--replay", seed, "--log", "off"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, errors="replace")
    return done.returncode == 1 and "seed %s: %s\n" % (seed, failure) in done.stdout


def mutants(build):
    """Each planted bug: after how many seeds it is found, and that the seed fails the same way again. A bug that is not found is a
    failure of the simulation, and a program that does not say which seed failed has found nothing."""
    names = sorted(name[:-len(".patch")] for name in os.listdir(MUTANTS) if name.endswith(".patch"))
    if meson.compile_all(build, ["tests/sim/mutants/sim_" + name for name in names]).status:
        return 1
    missed = 0
    for name in names:
        program = os.path.join(build, "tests", "sim", "mutants", "sim_" + name)
        ran, failures, lines = run_piece(program, 1, MUTANT_SEEDS, True)
        found = failures and lines and _FAILED.match(lines[-1])
        again = found and fails_again(program, lines[-1])
        missed += not again
        say("%s: %s" % (name, "NOT FOUND within %d seeds%s" % (ran, "".join("; " + line for line in lines)) if not found else
                        "found after %d seeds: %s%s" % (ran, lines[-1], "" if again else ", but NOT when that seed is repeated")))
    say("%d planted bugs, %d missed" % (len(names), missed))
    return 0 if names and not missed else 1


def main():
    parser = argparse.ArgumentParser(
        prog="tools/sim", description="Both proxies, both node agents and the authority in a simulated world: each seed is a "
        "mesh, its traffic, its faults and a schedule. The last line is the sum; a failure names its seed.")
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="the first seed (default: 1)")
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="how many (default: 200)")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="processes side by side (default: 1)")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run one seed and print what happens, step by step")
    parser.add_argument("--log", default="info", metavar="FILTER", help="with --replay: what the programs log, as RUST_LOG")
    parser.add_argument("--mutants", action="store_true", help="tell after how many seeds each planted bug is found")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), metavar="DIR", help="build folder (default: build)")
    args = parser.parse_args()
    if not meson.configure(args.build, OPTIONS, ROOT):
        return 2
    if args.mutants:
        return mutants(args.build)
    if meson.compile_all(args.build, ["tests/sim/sim"]).status:
        return 2
    program = os.path.join(args.build, "tests", "sim", "sim")
    if args.replay is not None:
        return subprocess.call([program, "--replay", str(args.replay), "--log", args.log])
    return run_range(program, args.first, args.seeds, max(args.jobs, 1))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
