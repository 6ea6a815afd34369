"""The demonstration: plain text, then the label, then mutual TLS, policy and numbers. tools/demo is the way in."""
import argparse
import os
import signal
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
from lab_lib import capture, enrolment, fabric, manifests, matrix, prometheus, requests, shell  # noqa: E402
from lab_lib.lab import REPOSITORY, Lab  # noqa: E402

SHOP = os.path.join(REPOSITORY, "tests", "scenarios", "shop")
MODE = "istio.io/dataplane-mode"


def say(text=""):
    print(text, flush=True)


def heading(text):
    say("\n== " + text)


class Demo:
    def __init__(self, args):
        self.folder = os.path.abspath(args.folder or SHOP)
        self.is_shop = self.folder == SHOP
        self.lab = Lab(args.name or "demo-%d" % os.getpid(), args.build, True, lambda text: say("   " + text))
        self.failures = []

    def check(self, good, text):
        """One thing the demonstration claims; a wrong one is said at once and decides the exit status."""
        if not good:
            self.failures.append(text)
            say("   WRONG: " + text)
        return good

    # -------------------------------------------------------------- the acts, in order
    def play(self):
        reader = manifests.Folder(self.folder)
        objects = reader.read()
        for problem in reader.problems.values():
            raise shell.LabError(problem, "correct the file")
        heading("Starting two nodes, and the pods of %s as if nobody had heard of a mesh" % self.folder)
        self.lab.start()
        self.lab.apply(without_labels(objects), self.folder)
        pods = sorted(self.lab.data["pods"])
        self.before = {key: (r["uid"], r["process"]["pid"]) for key, r in self.lab.data["pods"].items()}
        say("   %d pods run on %s" % (len(pods), " and ".join(fabric.NODES)))
        self.plain_act()
        heading("The namespaces get their label %s=ambient; no pod is restarted" % MODE)
        self.lab.apply(objects)
        enrolment.wait_as_labelled(self.lab)
        inside = [key for key in pods if matrix.in_mesh(self.lab, key)]
        say("   %d pods are in the mesh now, %d are not" % (len(inside), len(pods) - len(inside)))
        self.mesh_act()
        self.numbers_act()
        now = {key: (r["uid"], r["process"]["pid"]) for key, r in self.lab.data["pods"].items()}
        self.check(now == self.before, "a pod was restarted")
        for name in matrix.all_alive(self.lab):
            self.check(False, name + " has ended by itself")
        self.shell_act()

    def plain_act(self):
        heading("Control: what a capture on the wire shows before the label")
        wire = capture.Capture(self.lab, "plain")
        tokens = [cell["token"] for cell in matrix.ask_all(self.lab, refusals=False)]
        wire.stop()
        seen, between = wire.count(tokens), wire.count(tokens, capture.BETWEEN_NODES)
        say("   %d requests carried a random token each: %d tokens are readable on the wire, %d of them between the nodes"
            % (len(tokens), seen, between))
        self.check(seen == len(tokens), "the control run shows only %d of %d tokens" % (seen, len(tokens)))
        self.check(between >= 1 or len(tokens) < 8, "the control run shows no token between the nodes")
        wire.remove()

    def mesh_act(self):
        heading("Who may reach whom")
        wire = capture.Capture(self.lab, "mesh")
        self.cells = matrix.ask_all(self.lab)
        for line in matrix.table(self.lab, self.cells):
            say("   " + line)
        refused = [cell for cell in self.cells if "policy" in cell]
        if refused:
            heading("Who refused, as the refusing node's access log has it")
        for cell in refused:
            say("   %s -> %s: refused on %s by %s" % (matrix.label(self.lab, cell["caller"]), cell["target"], cell["node"],
                                                     cell["policy"]))
        for cell in self.cells:
            self.check(isinstance(cell["outcome"], int) or "policy" in cell,
                       "%(caller)s -> %(target)s: %(outcome)s %(error)s, and no policy refused it" % cell)
        if self.is_shop:
            self.shop_requests()
        wire.stop()
        heading("Proof from the wire (%d KiB captured on both bridge ports and both pod bridges)" % (wire.size() // 1024))
        hidden = [cell["token"] for cell in self.cells if cell["secret"]]
        shown = wire.seen(hidden)
        say("   %d tokens were sent between pods of the mesh, %d of them are readable" % (len(hidden), len(shown)))
        self.check(not shown, "%d tokens of mesh traffic are readable on the wire" % len(shown))
        self.check(hidden, "no pair of pods is in the mesh, so nothing was proved")
        wire.remove()

    def shop_requests(self):
        cases = [case for case in requests.load() if case["variant"] == "literal-l4"]
        good = 0
        for case in cases:
            got = requests.ask(self.lab, case)
            good += self.check(requests.expected(case, got), "request %s: expected %s, got %s"
                               % (case["id"], case["expect"], [g["outcome"] for g in got]))
        heading("The shop's %d requests of its table: %d as expected" % (len(cases), good))

    def numbers_act(self):
        heading("Numbers, scraped by Prometheus")
        self.prometheus = prometheus.Prometheus(self.lab)
        self.prometheus.wait_targets()
        queries = (("tunnelled connections received", 'istio_tcp_connections_opened_total{reporter="destination",'
                    'connection_security_policy="mutual_tls"}'),
                   ("refused by policy", 'istio_tcp_connections_closed_total{reporter="destination",response_flags="DENY"}'),
                   ("pods served", "workload_manager_active_proxy_count"))
        names = {ip: node for node, (ip, _) in fabric.ADDRESS.items()}
        sums = {}
        for text, expression in queries:
            rows = self.prometheus.query("sum by (instance) (%s)" % expression)
            by_node = {names.get(labels.get("instance", "").rsplit(":", 1)[0]): value for labels, value in rows}
            sums[text] = sum(by_node.values())
            say("   %-32s %s" % (text, "  ".join("%s %d" % (node, by_node.get(node, 0)) for node in fabric.NODES)))
        self.check(sums["tunnelled connections received"] > 0, "no node counted a tunnelled connection")
        refused = sum("policy" in cell for cell in self.cells)
        self.check(not refused or sums["refused by policy"] >= refused,
                   "%d requests were refused but %d are counted" % (refused, sums["refused by policy"]))
        inside = sum(matrix.in_mesh(self.lab, key) for key in self.lab.data["pods"])
        self.check(sums["pods served"] == inside, "%d pods are in the mesh, %d are served" % (inside, sums["pods served"]))
        say("   look yourself: %s" % self.prometheus.url)

    def shell_act(self):
        heading("Look inside")
        lab = os.path.relpath(os.path.join(REPOSITORY, "tools", "lab"))
        pod = sorted(self.lab.data["pods"])[0]
        say("   a shell in a pod:   %s exec --name %s %s" % (lab, self.lab.name, pod))
        if self.is_shop:
            say("   one request:        %s exec --name %s ingress -- curl -s http://frontend.ecommerce/" % (lab, self.lab.name))
        say("   everything there:   %s status --name %s" % (lab, self.lab.name))
        say("   logs:               %s/node-a/ztunnel.log and beside it" % self.lab.folder)
        say("   change a label or a policy in %s and save: running pods follow" % self.folder)


def without_labels(objects):
    """The same objects as if nobody had heard of a mesh: no namespace and no bare pod carries the label."""
    copy = manifests.copy.deepcopy(objects)
    for item in copy.values():
        if item["kind"] in ("Namespace", "Pod"):
            (item["metadata"].get("labels") or {}).pop(MODE, None)
    return copy


def main():
    parser = argparse.ArgumentParser(prog="tools/demo")
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--build")
    parser.add_argument("--name")
    args = parser.parse_args()
    demo = Demo(args)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    status = 1
    try:
        demo.play()
        status = 1 if demo.failures else 0
        if not args.check:
            say("\nThe mesh stays until you press Ctrl-C.")
            demo.lab.watch(demo.folder)
    except shell.LabError as problem:
        say("\ntools/demo: %s" % problem)
    except KeyboardInterrupt:
        say()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the way out is short and is not cut shorter
        say("\nremoving the lab" + ("" if status == 0 else "; what was wrong: " + ("; ".join(demo.failures) or "see above")))
        keep = None
        if status and os.path.isdir(demo.lab.folder):
            keep = tempfile.mkdtemp(prefix="weft-demo-logs-")
            shell.run(["sh", "-c", 'cd "$1" && find . -name "*.log" -o -name cluster.yaml | tar -cf - -T - | tar -xf - -C "$2"',
                       "sh", demo.lab.folder, keep], check=False)
        demo.lab.stop()
        left = fabric.list_namespaces(demo.lab.prefix)
        if left:
            say("still there: " + ", ".join(left))
            status = 1
        if keep:
            say("logs are kept in " + keep)
    if args.check:
        say("tools/demo --check: " + ("everything was as it should be" if status == 0 else "FAILED"))
    return status


if __name__ == "__main__":
    sys.exit(main())
