"""Command line of tools/lab."""
import argparse
import os
import sys

from . import fabric, manifests, programs
from .lab import REPOSITORY, Lab
from .shell import LabError, Process

USAGE_ERROR = 64


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, "tools/lab: %s\n" % message)


def parse(argv):
    parser = Parser(prog="tools/lab", description="A small cluster on this machine: two nodes and their pods are network "
                    "namespaces, the mesh programs are the real ones. Needs root; `down` leaves nothing behind.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)

    def command(name, text):
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--name", default="lab", help="which lab, when there are several (default: lab)")
        return sub

    up = command("up", "Start the lab and the pods of a folder of Kubernetes YAML, then follow the folder's changes.")
    up.add_argument("folder", nargs="?", help="default: the online shop of tests/scenarios/shop")
    up.add_argument("--build", help="where the programs are: a build folder or an unpacked release (default: build)")
    up.add_argument("--no-mesh", action="store_true", help="only the cluster: no certificate authority, agent, ztunnel")
    up.add_argument("--no-watch", action="store_true", help="do not follow the folder; use apply")
    command("down", "End every process, remove every pod, namespace and file of the lab.")
    command("status", "Show nodes, programs, services and pods.")
    apply = command("apply", "Bring the lab to the content of a folder now.")
    apply.add_argument("folder", nargs="?", help="default: the folder given to up")
    execute = command("exec", "Run a command in a pod: tools/lab exec POD -- CMD [ARG...]")
    execute.add_argument("pod", help="NAMESPACE/NAME, NAME, or how it begins")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD", help="default: a shell")
    watch = command("watch", "Follow a folder's changes (`up` starts this by itself).")
    watch.add_argument("folder")
    return parser.parse_args(argv)


def say(text):
    print(text, flush=True)


def up(args):
    folder = args.folder or os.path.join(REPOSITORY, "tests", "scenarios", "shop")
    lab = Lab(args.name, args.build, not args.no_mesh, say)
    reader = manifests.Folder(folder)
    objects = reader.read()
    for name, problem in reader.problems.items():
        raise LabError("%s: %s" % (name, problem), "correct the file")
    lab.start()
    try:
        lab.apply(objects, folder)
        if not args.no_watch:
            here = os.path.join(REPOSITORY, "tools", "lab")
            lab.keep(Process.start("watch", [here, "watch", "--name", args.name, os.path.abspath(folder)],
                                   os.path.join(lab.folder, "watch.log"), env=dict(os.environ)))
    except LabError:
        say("the lab is up, but not all of it:")
        raise
    status(args)


def status(args):
    lab = Lab.open(args.name)
    say("lab %s in %s%s" % (lab.name, lab.folder, "" if lab.data["mesh"] else " (without mesh)"))
    for node in fabric.NODES:
        line = "  %s  %s" % (node, " ".join(fabric.ADDRESS[node]))
        if lab.data["mesh"]:
            ready = programs.http_get(lab.prefix + node, programs.ZTUNNEL_READY, "/healthz/ready")[0] == 200
            line += "  ztunnel %s" % ("ready" if ready else "NOT READY")
        say(line)
    for value in lab.data["processes"]:
        process = Process.from_json(value)
        say("  %-28s %-8s log %s" % (process.name, process.pid if process.alive() else "ENDED", process.log))
    for key, addresses in sorted(lab.data["services"].items()):
        say("  service %-34s %s" % (key, " ".join(addresses)))
    for key, record in sorted(lab.data["pods"].items()):
        alive = record.get("process") and Process.from_json(record["process"]).alive()
        say("  pod %-48s %s %-8s %s" % (key, record["node"], "running" if alive else "ENDED", " ".join(record["ips"])))


def apply(args):
    lab = Lab.open(args.name, say)
    folder = args.folder or lab.data["source"]
    if not folder:
        raise LabError("no folder is known", "name one: tools/lab apply FOLDER")
    reader = manifests.Folder(folder)
    objects = reader.read()
    if reader.problems:
        raise LabError("\n  ".join(reader.problems.values()), "correct the file; nothing was changed")
    lab.apply(objects, folder)


def execute(args):
    lab = Lab.open(args.name)
    argv = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
    key = lab.find_pod(args.pod)
    argv = lab.inside(key, argv or ["env", "PS1=%s \\$ " % key, "bash", "--norc"])
    os.execvp(argv[0], argv)


def main(argv):
    args = parse(argv)
    actions = {"up": up, "status": status, "apply": apply, "exec": execute,
               "down": lambda a: (Lab(a.name, say=say).stop(), say("lab %s is gone" % a.name)),
               "watch": lambda a: Lab.open(a.name, say).watch(a.folder)}
    if os.geteuid():
        print("tools/lab needs root: it makes network namespaces. Run it with sudo.", file=sys.stderr)
        return 1
    try:
        actions[args.command](args)
    except LabError as problem:
        print("tools/lab %s: %s" % (args.command, problem), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
