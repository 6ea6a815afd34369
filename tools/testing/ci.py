"""What .ci/run does. Steps in order of worth; one that does not fit into what is left of the time is left out, and said so."""
import argparse
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from . import meson
from .native import PYTHON, ROOT, RUN_NETNS, environment
from .report import Report, Tally, headline, say

BUDGET_S = 70 * 60
CLANG = "clang++-19"
FUZZ_S = 60
# What a step may take at most, and what must be left of the budget for it to begin.
TEST_LIMIT_S, DEMO_LIMIT_S, SANITIZER_LIMIT_S, RELEASE_LIMIT_S, SMOKE_LIMIT_S = 1800, 300, 1200, 900, 480
SMOKE = ["shop"]  # the namespace suite that the release and the sanitized programs go through

# One build serves the address and undefined-behaviour sanitizers and the fuzz targets.
ASAN = ["-Dbuildtype=debugoptimized", "-Doptimization=1", "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dfuzz=true",
        # That check opens a pipe per look and reports at random where a test has used up all descriptors.
        "-Dcpp_args=-fno-sanitize=vptr", "-Dcpp_link_args=-fno-sanitize=vptr"]
TSAN = ["-Dbuildtype=debugoptimized", "-Doptimization=1", "-Db_sanitize=thread", "-Db_lundef=false"]
SANITIZER_ENV = {
    "ASAN_OPTIONS": "halt_on_error=1:abort_on_error=1:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:suppressions=" + os.path.join(ROOT, "tests", "tsan.supp"),
}


class Run:
    def __init__(self, spent, only):
        self.report = Report()
        self.end = time.monotonic() + BUDGET_S - spent
        self.only = only

    def left(self):
        return self.end - time.monotonic()

    def wanted(self, key, title, need_s):
        """Whether a step is to run now; says why when it is not."""
        if self.only and key not in self.only:
            return False
        if self.left() < need_s:
            self.report.skipped(title, "%.0f s are left of the time, it may need %d" % (max(self.left(), 0), need_s))
            return False
        return True


def clang_env():
    env = environment()
    env.update(SANITIZER_ENV)
    env["CXX"], env["CC"] = CLANG, "clang-19"
    os.environ.update(CXX=env["CXX"], CC=env["CC"])  # for meson setup, which has no other way to be told
    return env


def tests(run):
    if run.wanted("test", "tools/test", 0):
        run.report.suite("tools/test", [os.path.join(ROOT, "tools", "test")], TEST_LIMIT_S)


def demo(run):
    if run.wanted("demo", "tools/demo --check", DEMO_LIMIT_S):
        run.report.step("tools/demo --check", [os.path.join(ROOT, "tools", "demo"), "--check", "--build",
                                               os.path.join(ROOT, "build")], DEMO_LIMIT_S)


def release(run):
    if not run.wanted("release", "release build", RELEASE_LIMIT_S):
        return
    dist = os.path.join(ROOT, "dist")
    if run.report.step("release build", [os.path.join(ROOT, "tools", "release"), "--dist", dist], RELEASE_LIMIT_S):
        if run.wanted("release", "smoke of the release", SMOKE_LIMIT_S):
            run.report.suite("smoke of the release", [PYTHON, RUN_NETNS, "--build", dist] + SMOKE, SMOKE_LIMIT_S,
                             env=environment())


def sanitizer(run, key, title, options):
    """One sanitizer over all unit tests; the build folder when it built, else None."""
    build = os.path.join(ROOT, "build-" + key)
    if not run.wanted(key, title, SANITIZER_LIMIT_S):
        return None
    if not shutil.which(CLANG):
        run.report.skipped(title, CLANG + " is not installed")
        return None
    env = clang_env()
    if not meson.configure(build, options, ROOT):
        run.report.failed(title, "cannot be set up")
        return None
    units = [name for name, suites in meson.introspect(build) if "unit" in suites]
    built = meson.build_and_test(run.report, title, build, options, ROOT, names=units, build_limit_s=SANITIZER_LIMIT_S,
                                 test_limit_s=600, multiplier=10, env=env)
    return build if built else None


def fuzz_one(program):
    """(passed, seconds, the end of its output)"""
    began = time.monotonic()
    inputs = program + "-inputs"
    os.makedirs(inputs, exist_ok=True)
    env = dict(os.environ)
    env.update(SANITIZER_ENV)
    try:
        done = subprocess.run([program, "-max_total_time=%d" % FUZZ_S, "-timeout=10", "-rss_limit_mb=2048", "-verbosity=0",
                               "-print_final_stats=1", "-artifact_prefix=%s/crash-" % inputs], env=env, cwd=inputs,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=FUZZ_S * 3)
        return done.returncode == 0, time.monotonic() - began, done.stdout[-4000:]
    except subprocess.TimeoutExpired:
        return False, time.monotonic() - began, "no end after %d s" % (FUZZ_S * 3)


def fuzz(run, build):
    folder = os.path.join(build, "tests", "fuzz")
    programs = sorted(os.path.join(folder, name) for name in os.listdir(folder)
                      if name.startswith("fuzz_") and os.access(os.path.join(folder, name), os.X_OK) and
                      os.path.isfile(os.path.join(folder, name)))
    pairs = os.cpu_count() or 1
    need = FUZZ_S * (-(-len(programs) // pairs)) + 30
    if not programs or not run.wanted("fuzz", "fuzzing", need):
        return
    headline("fuzzing, %d s each" % FUZZ_S)
    with ThreadPoolExecutor(pairs) as pool:
        for program, (good, seconds, output) in zip(programs, pool.map(fuzz_one, programs)):
            name = os.path.basename(program)
            executed = [line for line in output.splitlines() if "number_of_executed_units" in line]
            say("-- %s: %s (%.0f s) %s" % (name, "ok" if good else "FAILED", seconds, " ".join(executed)))
            run.report.tally.add(Tally(passed=int(good), failed=int(not good)))
            if not good:
                say(output)
                run.report.trouble.append(name)


def sanitized_smoke(run, build):
    title = "namespace smoke under sanitizers"
    if run.wanted("asan", title, SMOKE_LIMIT_S):
        env = environment()
        env.update(SANITIZER_ENV)
        run.report.suite(title, [PYTHON, RUN_NETNS, "--build", build] + SMOKE, SMOKE_LIMIT_S, env=env)


def main():
    parser = argparse.ArgumentParser(prog=".ci/run")
    parser.add_argument("--spent", type=float, default=0, help="seconds already used, for packages")
    parser.add_argument("steps", nargs="*", help="only these: test demo release asan tsan fuzz")
    args = parser.parse_args()
    run = Run(args.spent, args.steps)
    tests(run)
    demo(run)
    release(run)
    asan = sanitizer(run, "asan", "address and undefined-behaviour sanitizers", ASAN)
    if asan or run.only:
        asan = asan or os.path.join(ROOT, "build-asan")
        if os.path.isdir(os.path.join(asan, "tests", "fuzz")):
            fuzz(run, asan)
    sanitizer(run, "tsan", "thread sanitizer", TSAN)
    if asan and not run.only:
        sanitized_smoke(run, asan)
    return run.report.finish()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
