"""What .ci/run does. Steps in order of worth; one that does not fit into what is left of the time is left out, and said so."""
import argparse
import os
import shutil
import sys
import time

from . import fuzz, meson
from .clang import ASAN, CLANG, SANITIZER_ENV, TSAN, clang_env
from .native import PYTHON, ROOT, RUN_NETNS, environment
from .report import Report

BUDGET_S, END_S = 70 * 60, 85 * 60  # no step begins that would not end within the first; none goes on after the second
FUZZ_S = 60
# What a step may take at most.
TEST_LIMIT_S, DEMO_LIMIT_S, SANITIZER_LIMIT_S, RELEASE_LIMIT_S, SMOKE_LIMIT_S = 1800, 300, 1200, 900, 480
ENGINES_LIMIT_S, PLANTED_LIMIT_S, SANITIZED_TESTS_LIMIT_S = 480, 600, 900
# What one takes on two processors, and what must be left of the budget for it to begin.
DEMO_S, PLANTED_S, ENGINE_S, RELEASE_S, SMOKE_S, ASAN_S, TSAN_S, SANITIZED_S = 20, 60, 120, 400, 30, 900, 700, 60
SANITIZED_SEEDS = 50
SMOKE = ["shop"]  # the namespace suite that says whether a build works at all
SANITIZED = ["shop", "fidelity"]
# Those in which engines differ; tools/test has them all on the engine that the kernel offers.
ENGINE_SUITES = ["shop", "fidelity", "floods", "exhaustion", "faults_kill"]


class Run:
    def __init__(self, spent, only):
        self.report = Report()
        self.began = time.monotonic() - spent
        self.only = only

    def left(self):
        return self.began + BUDGET_S - time.monotonic()

    def limit(self, most_s):
        """What a step gets that may take so long."""
        return max(min(most_s, self.began + END_S - time.monotonic()), 1)

    def wanted(self, key, title, need_s):
        """Whether a step is to run now; says why when it is not."""
        if self.only and key not in self.only:
            return False
        if self.left() < need_s:
            self.report.skipped(title, "%.0f s are left of the time, it takes %d" % (max(self.left(), 0), need_s))
            return False
        return True


def tests(run):
    if run.wanted("test", "tools/test", 0):
        run.report.suite("tools/test", [os.path.join(ROOT, "tools", "test")], TEST_LIMIT_S)


def planted(run):
    if run.wanted("sim", "planted bugs of the simulation", PLANTED_S):
        run.report.step("planted bugs of the simulation", [os.path.join(ROOT, "tools", "sim"), "--mutants"],
                        run.limit(PLANTED_LIMIT_S))


def demo(run):
    if run.wanted("demo", "tools/demo --check", DEMO_S):
        run.report.step("tools/demo --check", [os.path.join(ROOT, "tools", "demo"), "--check", "--build",
                                               os.path.join(ROOT, "build")], run.limit(DEMO_LIMIT_S))


def engines(run):
    """All namespace suites run in tools/test, on the full ring where the kernel has it; here on what older kernels and closed
    containers leave of it, and one on the full ring and nothing else."""
    for engine in ("full", "minimum", "epoll"):
        title = "namespace suites on the engine " + engine
        suites = SMOKE if engine == "full" else ENGINE_SUITES
        if run.wanted("engines", title, ENGINE_S):
            run.report.suite(title, [PYTHON, RUN_NETNS, "--build", os.path.join(ROOT, "build"), "--engine", engine] + suites,
                             run.limit(ENGINES_LIMIT_S), env=environment())


def legacy_rules(run):
    """tools/test has packet rules by iptables-nft and by nftables; here by the variant of older nodes."""
    title = "namespace suites, rules by iptables-legacy"
    if run.wanted("rules", title, SMOKE_S):
        run.report.suite(title, [PYTHON, RUN_NETNS, "--build", os.path.join(ROOT, "build"), "--rules", "iptables-legacy"] + SMOKE,
                         run.limit(SMOKE_LIMIT_S), env=environment())


def release(run):
    if not run.wanted("release", "release build", RELEASE_S):
        return
    dist = os.path.join(ROOT, "dist")
    if run.report.step("release build", [os.path.join(ROOT, "tools", "release"), "--dist", dist], run.limit(RELEASE_LIMIT_S)):
        if run.wanted("release", "smoke of the release", SMOKE_S):
            run.report.suite("smoke of the release", [PYTHON, RUN_NETNS, "--build", dist] + SMOKE, run.limit(SMOKE_LIMIT_S),
                             env=environment())


def sanitizer(run, key, title, options, need_s):
    """One sanitizer over all programs' tests and some of the simulation's seeds; the build folder when it built, else None."""
    build = os.path.join(ROOT, "build-" + key)
    if not run.wanted(key, title, need_s):
        return None
    if not shutil.which(CLANG):
        run.report.skipped(title, CLANG + " is not installed")
        return None
    env = clang_env()
    if not meson.configure(build, options, ROOT):
        run.report.failed(title, "cannot be set up")
        return None
    names = [name for name, suites in meson.introspect(build) if {"unit", "integration", "netns"} & set(suites)]
    built = meson.build_and_test(run.report, title, build, options, ROOT, names=names,
                                 build_limit_s=run.limit(SANITIZER_LIMIT_S), test_limit_s=run.limit(SANITIZED_TESTS_LIMIT_S),
                                 multiplier=10, env=env)
    if not built:
        return None
    run.report.step("%s: seeds of the simulation" % title,
                    [os.path.join(build, "tests", "sim", "sim"), "--first", "1", "--seeds", str(SANITIZED_SEEDS)],
                    run.limit(SANITIZED_TESTS_LIMIT_S), env=env)
    return build


def fuzz_all(run, build):
    at_once = (os.cpu_count() or 1) + 1  # a minute is one of the clock; the targets share the processors
    names = fuzz.targets()
    if run.wanted("fuzz", "fuzzing", FUZZ_S * (-(-len(names) // at_once)) + 30):
        fuzz.run_all(run.report, build, names, FUZZ_S, at_once)


def sanitized_suites(run, key, build):
    title = "namespace suites under sanitizers: " + key
    if run.wanted(key, title, SANITIZED_S):
        env = environment()
        env.update(SANITIZER_ENV)
        run.report.suite(title, [PYTHON, RUN_NETNS, "--build", build] + SANITIZED, run.limit(SMOKE_LIMIT_S), env=env)


def main():
    parser = argparse.ArgumentParser(prog=".ci/run")
    parser.add_argument("--spent", type=float, default=0, help="seconds already used, for packages")
    parser.add_argument("steps", nargs="*", help="only these: test sim demo engines rules release asan tsan fuzz")
    args = parser.parse_args()
    run = Run(args.spent, args.steps)
    tests(run)
    planted(run)
    demo(run)
    engines(run)
    legacy_rules(run)
    release(run)
    asan = sanitizer(run, "asan", "address and undefined-behaviour sanitizers", ASAN, ASAN_S)
    if asan or run.only:
        asan = asan or os.path.join(ROOT, "build-asan")
        if os.path.isdir(os.path.join(asan, "tests", "fuzz")):
            fuzz_all(run, asan)
    tsan = sanitizer(run, "tsan", "thread sanitizer", TSAN, TSAN_S)
    for key, build in (("asan", asan), ("tsan", tsan)):
        if build:
            sanitized_suites(run, key, build)
    return run.report.finish()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
