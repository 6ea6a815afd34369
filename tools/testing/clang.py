"""The builds that need clang: sanitizers and fuzz targets."""
import os

from .native import ROOT, environment

CLANG = "clang++-19"

# One build serves the address and undefined-behaviour sanitizers and the fuzz targets.
ASAN_BUILD = os.path.join(ROOT, "build-asan")
# Lines are what their reports tell, and who does not go on after a finding is a third smaller and sooner compiled.
LINES = "-gline-tables-only"
ASAN = ["-Dbuildtype=debugoptimized", "-Doptimization=1", "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dfuzz=true",
        # That check opens a pipe per look and reports at random where a test has used up all descriptors.
        "-Dcpp_args=%s -fno-sanitize-recover=all -fno-sanitize=vptr" % LINES, "-Dcpp_link_args=-fno-sanitize=vptr"]
TSAN = ["-Dbuildtype=debugoptimized", "-Doptimization=1", "-Db_sanitize=thread", "-Db_lundef=false", "-Dcpp_args=" + LINES]
SANITIZER_ENV = {
    "ASAN_OPTIONS": "halt_on_error=1:abort_on_error=1:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:suppressions=" + os.path.join(ROOT, "tests", "tsan.supp"),
}


def clang_env():
    env = environment()
    env.update(SANITIZER_ENV)
    env["CXX"], env["CC"] = CLANG, "clang-19"
    os.environ.update(CXX=env["CXX"], CC=env["CC"])  # for meson setup, which has no other way to be told
    return env
