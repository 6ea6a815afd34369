"""What tools/test does after tools/setup: one optimised build, its tests, then the namespace suites."""
import argparse
import os
import subprocess
import sys

from . import meson
from .report import Report, headline, say

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RUN_NETNS = os.path.join(ROOT, "tests", "netns", "run.py")
PYTHON = "/usr/bin/python3"  # Debian's own, which sees Debian's modules
# -O2, and of what a debugger wants the lines alone, as in a backtrace: a quarter sooner built.
OPTIONS = ["-Dbuildtype=debugoptimized", "-Dcpp_args=-g1"]
# Bounds that turn a hang into a failure; a cold run on two cores stays far below their sum.
BUILD_LIMIT_S, UNIT_LIMIT_S, NETNS_LIMIT_S = 1500, 600, 900
# What runs once more with packet rules by nftables; all suites run on what the agent chooses by itself, which is iptables.
NFT_SUITES, NFT_LIMIT_S = ["shop", "enrolment", "failures"], 300

SHARED = os.path.join(os.path.dirname(ROOT), "shared")  # references and example manifests, where the workplace has them


def environment():
    """Where tests find what does not belong to the tree; without it they say skipped."""
    env = dict(os.environ)
    if "WEFT_SHARED" not in env and os.path.isdir(SHARED):
        env["WEFT_SHARED"] = SHARED
    return env


def choose(words, tests):
    """(names of Meson tests, words for the namespace suites, words nobody knows). No word means everything."""
    if not words:
        return [name for name, _ in tests], [], []
    names, spaces, unknown = [], [], []
    for word in words:
        hits = [name for name, suites in tests if word == name or word in suites]
        names += [name for name in hits if name not in names]
        listed = word == "netns" or subprocess.run([PYTHON, RUN_NETNS, "--list", word], text=True,
                                                   stdout=subprocess.PIPE).stdout.strip()
        if listed:
            spaces.append(word)
        if not hits and not listed:
            unknown.append(word)
    return names, [word for word in spaces if word != "netns"] if "netns" not in spaces else ["netns"], unknown


def main():
    parser = argparse.ArgumentParser(
        prog="tools/test", description="Installs what is missing, builds, and runs every test. The last line is the sum.",
        epilog="A WORD is the name of a test (http2), of a suite (unit, tidy, netns), of a namespace suite (shop), or part of "
               "the sentence of one of its cases. Counted are the cases of each Catch2 program, each case of the namespace "
               "suites, and one for every other check. Namespace suites need root and are skipped without.")
    parser.add_argument("--build-only", action="store_true", help="install and build, run nothing")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), metavar="DIR", help="build folder (default: build)")
    parser.add_argument("words", nargs="*", metavar="WORD")
    args = parser.parse_args()

    headline("build (-O2) in %s" % os.path.relpath(args.build))
    report = Report()
    if not meson.configure(args.build, OPTIONS, ROOT):
        report.failed("build", "cannot be set up")
        return report.finish()
    done = meson.compile_all(args.build, limit_s=BUILD_LIMIT_S)
    if done.status or done.timed_out:
        report.failed("build", "no end after %d s" % BUILD_LIMIT_S if done.timed_out else "the compiler's words are above")
        return report.finish()
    say("-- built (%.0f s)" % done.seconds)
    report.times.append("build %.0f s" % done.seconds)
    if args.build_only:
        return 0

    names, spaces, unknown = choose(args.words, meson.introspect(args.build))
    if unknown:
        print("tools/test: no test goes by: " + " ".join(unknown), file=sys.stderr)
        return 64
    if names:
        headline("units, simulation, tidy")
        tally, seconds, failed = meson.run_tests(args.build, names, multiplier=3, limit_s=UNIT_LIMIT_S, env=environment())
        report.add(tally, seconds, "units, simulation, tidy")
        report.trouble += failed
    if spaces or not args.words:
        report.suite("namespace suites", [PYTHON, RUN_NETNS, "--build", args.build] +
                     [word for word in spaces if word != "netns"], NETNS_LIMIT_S, env=environment())
    if not args.words or "netns" in spaces:
        report.suite("namespace suites, rules by nftables", [PYTHON, RUN_NETNS, "--build", args.build, "--rules", "nft"] +
                     NFT_SUITES, NFT_LIMIT_S, env=environment())
    return report.finish()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
