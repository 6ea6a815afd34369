"""`weftctl status` on running nodes: what it tells is what is the case, and what goes wrong shows."""
import json
import os

from harness import case, expect, fabric, matrix, netns_path, programs, wait_for
from lab_lib.shell import run

SCENARIO = "policies"


def weftctl(mesh, node, *words):
    """(exit status, standard output) on the node itself."""
    done = run(["nsenter", "--net=" + netns_path(mesh.lab.prefix + node), "--",
                programs.find(mesh.lab.data["build"], "weftctl"), "status", *words], check=False, limit=60)
    return done.returncode, done.stdout


def status(mesh, node):
    code, text = weftctl(mesh, node, "-o", "json")
    nodes = json.loads(text)["nodes"]
    expect(len(nodes) == 1, text)
    return code, nodes[0]


def until(mesh, node, what, test):
    """The status once it is so."""
    last = []

    def probe():
        last[:] = status(mesh, node)
        return test(*last)

    try:
        wait_for(what, probe, 15)
    except Exception as problem:
        raise AssertionError("%s; status %s, errors %s, problems %s" % (problem, last[0], last[1]["errors"], last[1]["problems"]))
    return last[1]


def well(mesh, node):
    return until(mesh, node, node + " to be well", lambda code, got: code == 0 and not got["problems"] and not got["errors"])


@case("every pod of the node is told: enrolled, or outside with the reason; versions, engine, mesh and certificates too")
def everything(mesh):
    for node in fabric.NODES:
        got = well(mesh, node)
        here = {key for key, record in mesh.lab.data["pods"].items() if record["node"] == node}
        told = {pod["pod"]: pod for pod in got["pods"]}
        expect(set(told) == here, "%s tells of %s, not %s" % (node, sorted(told), sorted(here)))
        for key, pod in told.items():
            inside = matrix.in_mesh(mesh.lab, key)
            expect((pod["state"], bool(pod["why"])) == (("enrolled", False) if inside else ("outside", True)), pod)
        page = got["ztunnel"]
        expect(page["node"] == got["agent"]["node"] == node and page["ready"] and page["version"], page)
        expect(page["workers"]["count"] >= 1 and page["workers"]["engine"].startswith(("io_uring", "epoll (")), page["workers"])
        expect(page["mesh"]["workloads"] == len(mesh.lab.data["pods"]) and page["mesh"]["services"] == 2, page["mesh"])
        identities = {"spiffe://cluster.local/ns/%(namespace)s/sa/%(serviceAccountName)s" % dict(
            mesh.lab.data["pods"][key]["object"]["metadata"], **mesh.lab.data["pods"][key]["object"]["spec"])
            for key in here if matrix.in_mesh(mesh.lab, key)}
        held = {c["identity"]: c for c in page["certificates"]}
        expect(identities <= set(held), "%s holds %s" % (node, sorted(held)))
        for row in held.values():
            expect(row["state"] == "Available" and 0 < row["remainingSeconds"] <= row["lifeSeconds"], row)


@case("for people the same is a table, without colour where there is no terminal")
def for_people(mesh):
    node = fabric.NODES[0]
    well(mesh, node)
    code, text = weftctl(mesh, node)
    expect(code == 0 and text.startswith("%s (127.0.0.1:15000): well\n" % node) and "\033" not in text, text)
    for key, record in mesh.lab.data["pods"].items():
        expect((key + " " in text) == (record["node"] == node), "%s: %s" % (key, text))


@case("a manifest file that cannot be read is named until it is mended, and the mesh goes on")
def broken_file(mesh):
    path = os.path.join(mesh.lab.programs().state, "broken.yaml")
    try:
        with open(path, "w", encoding="utf-8") as handle:
            handle.write("kind: [\n")
        for node in fabric.NODES:
            got = until(mesh, node, node + " to tell of the file", lambda code, got: code == 1 and got["problems"])
            expect(any("broken.yaml:" in text for text in got["problems"]), got["problems"])
            expect("the agent cannot read 1 manifest files" in got["problems"], got["problems"])
        mesh.eventually("production/client", "http://web.production/", 200)
    finally:
        os.unlink(path)
    for node in fabric.NODES:
        well(mesh, node)


@case("an agent that is away is an error; what the proxy knows is told all the same")
def no_agent(mesh):
    node = fabric.NODES[0]
    mesh.lab.stop_process("weft-agent on " + node)
    try:
        code, got = status(mesh, node)
        expect(code == 2 and got["agent"] is None and len(got["errors"]) == 1, got["errors"])
        expect("weft-agent: cannot reach the node for GET /status at 127.0.0.1:15015" in got["errors"][0], got["errors"])
        served = {pod["pod"] for pod in got["pods"] if pod["state"] == "served"}
        here = {key for key, r in mesh.lab.data["pods"].items() if r["node"] == node and matrix.in_mesh(mesh.lab, key)}
        expect(served == here, "%s, not %s" % (sorted(served), sorted(here)))
    finally:
        mesh.lab.programs().start_agent(node)
    well(mesh, node)


@case("without a proxy the node's pods are pending, and nobody calls them unenforced, because their rules hold")
def no_proxy(mesh):
    node = fabric.NODES[0]
    mesh.lab.stop_process("ztunnel on " + node, limit_s=30)
    try:
        got = until(mesh, node, "the agent to miss its proxy",
                    lambda code, got: code == 2 and not got["agent"]["ztunnelConnected"])
        expect(got["ztunnel"] is None and "ztunnel: cannot reach the node" in got["errors"][0], got["errors"])
        states = {pod["pod"]: (pod["state"], pod["unenforced"]) for pod in got["pods"]}
        for key, record in mesh.lab.data["pods"].items():
            if record["node"] == node and matrix.in_mesh(mesh.lab, key):
                expect(states[key] == ("pending", False), states)
        expect("no ztunnel is connected to the agent" in got["problems"], got["problems"])
    finally:
        mesh.lab.programs().start_ztunnel(node)
    well(mesh, node)
