"""The lab alone, without the mesh: it must be right before anything is concluded from it."""
import json
import os
import secrets
import tempfile

from harness import Capture, LabError, case, expect, fabric, manifests, monotonic
from lab_lib import capture

SCENARIO = "shop"
MESH = False


@case("every pod answers who it is, over IPv4 and IPv6, and sees the caller's own address")
def pods_answer(mesh):
    caller = mesh.ips("outside/plain")
    for key, record in mesh.lab.data["pods"].items():
        for ip, own in zip(record["ips"], caller):
            got = mesh.ask("outside/plain", "http://%s:8080/who" % ("[%s]" % ip if ":" in ip else ip))
            expect(got["outcome"] == 200, "%s at %s: %s" % (key, ip, got))
            body = got["body"]
            expect("%s/%s" % (body["namespace"], body["pod"]) == key, "%s answered for %s" % (body["pod"], key))
            if key != "outside/plain":
                expect(body["peer"] == own, "%s saw %s, not %s" % (key, body["peer"], own))


@case("a service name in each of its spellings leads to every pod behind it and to no other")
def services_spread(mesh):
    for spelling in ("catalog", "catalog.ecommerce", "catalog.ecommerce.svc", "catalog.ecommerce.svc.cluster.local"):
        got = mesh.lab.ask("ecommerce/frontend", [{"url": "http://%s/" % spelling, "count": 60}])
        expect(all(g["outcome"] == 200 for g in got), "%s: %s" % (spelling, [g["outcome"] for g in got]))
        pods = {g["body"]["pod"] for g in got}
        expect(len(pods) == 3 and all(p.startswith("catalog-") for p in pods), "%s reached %s" % (spelling, sorted(pods)))
    expect(mesh.ask("outside/plain", "http://catalog/")["outcome"] == "unknown name", "a short name crossed namespaces")


@case("a service leads a pod to itself, to its node and across nodes, with the caller's address kept between pods")
def services_everywhere(mesh):
    for caller in [k for k in mesh.lab.data["pods"] if k.startswith("ecommerce/users")]:
        for address in mesh.lab.data["services"]["ecommerce/users"]:
            url = "http://%s/" % ("[%s]" % address if ":" in address else address)
            got = mesh.lab.ask(caller, [{"url": url, "count": 20}])
            expect(all(g["outcome"] == 200 for g in got), "%s to %s: %s" % (caller, url, [g["outcome"] for g in got]))
            others = [g["body"] for g in got if not caller.endswith(g["body"]["pod"])]
            expect(others and all(b["peer"] in mesh.ips(caller) for b in others), "%s came as %s" % (caller, others[:1]))


@case("headless services, ordinal names, daemon sets and jobs become pods and names")
def workload_kinds(mesh):
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "x", "ports": [
        {"name": "web", "containerPort": 9000}]}]}}
    mesh.apply("\n---\n".join(json.dumps(o) for o in [
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "kinds"},
         "spec": {"serviceName": "db", "replicas": 2, "template": template}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "kinds"},
         "spec": {"clusterIP": "None", "selector": {"app": "x"}, "ports": [{"port": 9000}]}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "named", "namespace": "kinds"},
         "spec": {"selector": {"app": "x"}, "ports": [{"port": 80, "targetPort": "web"}]}},
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "each", "namespace": "kinds"},
         "spec": {"template": template}},
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": "kinds"},
         "spec": {"completions": 1, "template": template}}]))
    got = mesh.ask("outside/plain", "http://db-1.db.kinds.svc.cluster.local:9000/")
    expect(got["outcome"] == 200 and got["body"]["pod"] == "db-1", got)
    expect(mesh.ask("outside/plain", "http://named.kinds/")["outcome"] == 200, "a named target port is not resolved")
    daemons = [r["node"] for k, r in mesh.lab.data["pods"].items() if k.startswith("kinds/each-")]
    expect(sorted(daemons) == list(fabric.NODES), "the daemon set is on %s" % daemons)
    expect(any(k.startswith("kinds/once-") for k in mesh.lab.data["pods"]), "the job has no pod")
    mesh.reset()
    expect(not any(k.startswith("kinds/") for k in mesh.lab.data["pods"]), "pods of removed objects are still there")


@case("a changed template replaces its pods without a failed request")
def replacement(mesh):
    load = mesh.lab.load_from("ecommerce/frontend", {"url": "http://orders/", "prefix": "roll-"})
    before = set(mesh.lab.data["pods"])

    def change(objects):
        spec = mesh.find("Deployment", "orders-v1", objects=objects)["spec"]["template"]
        spec["metadata"]["labels"]["round"] = "two"

    mesh.apply(change=change)
    after = set(mesh.lab.data["pods"])
    got = load.stop()
    expect(len(before - after) == len(after - before) == 2, "replaced: %s by %s" % (before - after, after - before))
    expect(got["sent"] and not got["failures"], "%d of %d requests failed: %s"
           % (len(got["failures"]), len(got["sent"]), got["failures"][:3]))
    mesh.reset()


@case("labels of running pods change in the published state without a restart")
def labels_follow(mesh):
    before = mesh.applications()

    def change(objects):
        mesh.find("Namespace", "outside", objects=objects)["metadata"].setdefault("labels", {})["colour"] = "green"
        mesh.find("Pod", "plain", objects=objects)["metadata"]["labels"]["colour"] = "green"

    mesh.apply(change=change)
    with open(os.path.join(mesh.lab.folder, "state", "cluster.yaml")) as handle:
        objects = manifests.parse(handle.read(), "cluster.yaml")
    green = [o["kind"] for o in objects if (o["metadata"].get("labels") or {}).get("colour") == "green"]
    expect(sorted(green) == ["Namespace", "Pod"], green)
    expect(mesh.applications() == before, "something was restarted")
    pod = next(o for o in objects if o["kind"] == "Pod" and o["metadata"]["name"] == "plain")
    expect(pod["status"]["podIPs"][0]["ip"] == mesh.ips("plain")[0] and pod["spec"]["nodeName"] and pod["metadata"]["uid"] and
           os.path.exists(pod["metadata"]["annotations"]["weft.io/netns"]), "the pod's status is not complete: %s" % pod)
    mesh.reset()


@case("a broken file of the user's folder is named and its last good content stays")
def broken_file(mesh):
    with tempfile.TemporaryDirectory() as folder:
        good, path = "kind: Namespace\napiVersion: v1\nmetadata: {name: here}\n", os.path.join(folder, "a.yaml")
        with open(path, "w") as handle:
            handle.write(good)
        reader = manifests.Folder(folder)
        expect(list(reader.read()) == ["/Namespace//here"] and not reader.problems, reader.problems)
        with open(path, "w") as handle:
            handle.write("kind: [unfinished\n  x: : y")
        expect(list(reader.read()) == ["/Namespace//here"], "the last good content went away")
        expect("a.yaml" in reader.problems.get("a.yaml", ""), reader.problems)


@case("a capture sees every token that plain pods send, between nodes and within one")
def capture_sees(mesh):
    wire = Capture(mesh.lab, "control")
    tokens = []
    for caller in ("outside/plain", "elsewhere/stranger"):
        for _ in range(6):
            token = secrets.token_hex(12)
            tokens.append(token)
            mesh.ask(caller, "http://catalog.ecommerce/", headers={"x-token": token})
    wire.stop()
    expect(wire.count(tokens) == len(tokens), "%d of %d tokens were seen" % (wire.count(tokens), len(tokens)))
    expect(wire.count(tokens, capture.BETWEEN_NODES) >= 1, "no token crossed the bridge between the nodes")
    expect(wire.count([secrets.token_hex(12)]) == 0, "a token never sent was seen")
    wire.remove()


@case("a service without pods refuses at once")
def nobody_behind(mesh):
    mesh.apply("apiVersion: v1\nkind: Service\nmetadata: {name: empty, namespace: outside}\nspec: {selector: {app: none}, "
               "ports: [{port: 80}]}")
    begun = monotonic()
    got = mesh.ask("ecommerce/frontend", "http://empty.outside/")
    expect(got["outcome"] == "closed" and monotonic() - begun < 3, got)
    mesh.reset()


@case("two labs stand side by side, and taking one down leaves the other alone")
def two_labs(mesh):
    from lab_lib.lab import Lab
    other = Lab(mesh.lab.name[:12] + "-two", None, False)
    other.start()
    try:
        other.apply({k: o for k, o in mesh.base.items() if o["kind"] != "Deployment"})
        expect(other.ask("outside/plain", [{"url": "http://%s:8080/" % other.data["pods"]["elsewhere/stranger"]["ips"][0]}])[0]
               ["outcome"] == 200, "the second lab does not work")
    finally:
        other.stop()
    expect(mesh.ask("outside/plain", "http://users.ecommerce/")["outcome"] == 200, "the first lab no longer works")
    try:
        Lab.open(other.name)
    except LabError:
        return
    raise AssertionError("the second lab is still known")
