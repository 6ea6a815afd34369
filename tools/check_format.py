#!/usr/bin/python3
"""Checks the C++ sources against .clang-format, with clang-format-19 alone, because versions differ in what they write.

    tools/check_format.py [--fix] [PATH...]     lists the files that differ, or rewrites them; exit status 77 without the program

Paths are files or folders below the root of the tree; none means all."""
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from check_layers import sources

PROGRAM = "clang-format-19"
SKIPPED = 77  # Meson's word for a test that could not run
FILES_PER_CALL = 20


def differs(root, files):
    done = subprocess.run([PROGRAM, "--dry-run", "-Werror", "--ferror-limit=1", *files], cwd=root, stderr=subprocess.PIPE,
                          text=True)
    if done.returncode and not done.stderr:
        raise OSError("%s ended with %d" % (PROGRAM, done.returncode))
    return sorted({line.split(":")[0] for line in done.stderr.splitlines() if ": error: " in line})


def main(argv):
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not shutil.which(PROGRAM):
        print("%s is not installed (tools/setup ci)" % PROGRAM)
        return SKIPPED
    fix = "--fix" in argv
    wanted = [os.path.relpath(path, root) for path in argv[1:] if path != "--fix"]
    files = [path for path in sources(root) if not wanted or any(
        path == want or path.startswith(want.rstrip("/") + "/") for want in wanted)]
    if fix:
        subprocess.run([PROGRAM, "-i", *files], cwd=root, check=True)
        return 0
    groups = [files[at:at + FILES_PER_CALL] for at in range(0, len(files), FILES_PER_CALL)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        different = [path for found in pool.map(lambda group: differs(root, group), groups) for path in found]
    for path in different:
        print(path)
    print("format: %d files, %d differ%s" % (len(files), len(different), "; tools/check_format.py --fix" if different else ""))
    return 1 if different or not files else 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main(sys.argv))
