#!/usr/bin/python3
"""Runs the namespace suites: whole meshes of network namespaces on this machine, with the real programs. Needs root.

    tests/netns/run.py [--build DIR] [--engine NAME] [--rules NAME] [--list] [WORD...]
                                                   only suites of that name, and cases whose sentence has the word

One line per case; the last line is "N passed, N failed, N skipped"."""
import argparse
import glob
import importlib
import os
import signal
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def line(self, word, name, seconds=None, text=""):
        print("%-7s %s%s" % (word, name, "" if seconds is None else " (%.1f s)" % seconds), flush=True)
        if text:
            print("        " + text.strip().replace("\n", "\n        "), flush=True)
        setattr(self, {"ok": "passed", "FAILED": "failed", "skipped": "skipped"}[word],
                getattr(self, {"ok": "passed", "FAILED": "failed", "skipped": "skipped"}[word]) + 1)


def cases_of(module):
    found = [value for value in vars(module).values() if hasattr(value, "sentence") and value.__module__ == module.__name__]
    return sorted(found, key=lambda function: function.__code__.co_firstlineno)


def choose(words):
    """[(suite name, module, cases)] that the words ask for."""
    chosen = []
    paths = sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "suite_*.py")))
    names = [os.path.basename(path)[6:-3] for path in paths]
    for name in names:
        module = importlib.import_module("suite_" + name)
        wanted = [c for c in cases_of(module) if not words or name in words or
                  any(word in c.sentence for word in words if word not in names)]
        if wanted:
            chosen.append((name, module, wanted))
    return chosen


def why_not(module):
    """Why a suite cannot be tried here; None when it can."""
    if os.geteuid():
        return "needs root"
    return module.unavailable() if hasattr(module, "unavailable") else None


def run_suite(name, module, cases, build, forced, tally):
    from harness import LabError, Mesh, Skip, fabric, scenario, Lab
    from lab_lib import matrix, shell

    lab = Lab("t%d-%s" % (os.getpid(), name[:10].replace("_", "-")), build, getattr(module, "MESH", True), **forced)
    try:
        began = time.monotonic()
        try:
            objects = module.objects() if hasattr(module, "objects") else scenario(module.SCENARIO)
            lab.start()
            lab.apply(objects)
            mesh = Mesh(lab, objects)
            mesh.reset()
        except (LabError, OSError) as problem:
            for function in cases:
                tally.line("FAILED", "%s: %s" % (name, function.sentence), text="the lab did not start: %s" % problem)
            return
        print("        %s: the lab stands (%.1f s)" % (name, time.monotonic() - began), flush=True)
        for function in cases:
            began = time.monotonic()
            title = "%s: %s" % (name, function.sentence)
            try:
                said = function(mesh)
                ended = matrix.all_alive(lab)
                if ended:
                    raise AssertionError("ended by itself: " + ", ".join(ended))
                tally.line("ok", title, time.monotonic() - began, said or "")
            except Skip as why:
                tally.line("skipped", title, time.monotonic() - began, str(why))
            except Exception as problem:  # whatever a case raises is its failure
                known = isinstance(problem, (LabError, AssertionError))
                text = str(problem) if known else "%r\n%s" % (problem, traceback.format_exc())
                tally.line("FAILED", title, time.monotonic() - began, text + "\nlogs: " + keep_logs(lab, shell))
                repair(mesh, LabError)
    finally:
        try:
            lab.stop()
        except LabError as problem:
            tally.line("FAILED", name + ": everything is taken down", text=str(problem))
    left = fabric.list_namespaces(lab.prefix) + ([lab.folder] if os.path.exists(lab.folder) else [])
    tally.line("FAILED" if left else "ok", name + ": nothing is left behind", text=", ".join(left))


def repair(mesh, error):
    """After a failed case, so that the next one starts from the scenario."""
    try:
        mesh.reset()
    except error:
        pass


def keep_logs(lab, shell):
    folder = tempfile.mkdtemp(prefix="weft-netns-logs-")
    shell.run(["sh", "-c", 'cd "$1" && find . -name "*.log" -o -name "*.yaml" -o -name lab.json | tar -cf - -T - | '
               'tar -xf - -C "$2"', "sh", lab.folder, folder], check=False)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", help="a build folder or an unpacked release (default: build)")
    parser.add_argument("--engine", choices=["full", "minimum", "epoll"],
                        help="what ztunnel runs on: the ring, the ring as the oldest kernel has it, epoll (default: its choice)")
    parser.add_argument("--rules", choices=["nft", "iptables", "iptables-legacy"],
                        help="what keeps the pods' packet rules (default: the agent's choice)")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    tally = Tally()
    try:
        suites = choose(args.words)
    except ModuleNotFoundError as missing:
        print("FAILED  the suites cannot be read: %s (run tools/setup)" % missing)
        print("0 passed, 1 failed, 0 skipped")
        return 1
    if args.list:
        for name, _, cases in suites:
            for function in cases:
                print("%s: %s" % (name, function.sentence))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name, module, cases in suites:
        reason = why_not(module)
        if reason:
            for function in cases:
                tally.line("skipped", "%s: %s" % (name, function.sentence), text=reason)
        else:
            run_suite(name, module, cases, args.build, {"engine": args.engine, "rules": args.rules}, tally)
    print("%d passed, %d failed, %d skipped" % (tally.passed, tally.failed, tally.skipped))
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
