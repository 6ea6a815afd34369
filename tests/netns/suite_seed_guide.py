"""The guide's security examples, from the user's own files: sections 4, 8 and 10 as far as a node proxy decides them. Servers and
callers are those of tests/scenarios/policies. Objects that name no namespace are applied to production, as the rows ask.

Not here: what the rows say of HTTP proxies (403, paths, methods), of times of day, and of messages in an object's status, which
the translator's own tests check."""
import os
import shutil

import seed
from harness import Capture, case, enrolment, expect
from suite_enrolment import tokens_of
from suite_policies import NO_IDENTITY, NOT_ALLOWED, count_both_kinds, every_pod_sees, probe_every_pod, reach_outside, \
    strict_under_load

SCENARIO = "policies"
unavailable = seed.unavailable
MTLS, ISOLATION, GRADUAL = "04-1-mtls-peerauthentication.yaml", "04-3-namespace-isolation-and-business-hours.yaml", \
    "08-1-gradual-mtls-permissive.yaml"
HARDENING, COST = "08-4-hardening-deny-all-and-sidecar.yaml", "10-3-cost-opt-out-and-ambient.yaml"
CLIENT = "spiffe://cluster.local/ns/production/sa/client"
WEB, HTTPBIN, PORT_9000 = "http://web.production/", "http://httpbin.production/", "http://httpbin.production:9000/"


def applied(mesh, name, namespace="production"):
    found = seed.apply(name, namespace)
    seed.add(mesh, found)
    return found


@case("E-04-1-1: under the guide's STRICT mesh clients reach every production pod, which sees their identity")
def strict_mesh_clients(mesh):
    applied(mesh, MTLS)
    mesh.refused("outside/plain", WEB, NO_IDENTITY)
    every_pod_sees(mesh, "production/client", CLIENT)
    every_pod_sees(mesh, "trusted/friend", "spiffe://cluster.local/ns/trusted/sa/friend")
    mesh.reset()


@case("E-04-1-2: under the guide's STRICT plain text gets no byte; refusals name the policy; without it the same requests succeed")
def strict_plain_text(mesh):
    policies = applied(mesh, MTLS)
    pods = ["http://%s:8080/" % ip for pod in mesh.lab.data["pods"] if pod.startswith(("production/web", "production/client"))
            for ip in mesh.ips(pod)[:1]]
    for url in [WEB] + pods:
        mesh.refused("outside/plain", url, NO_IDENTITY)
    seed.remove(mesh, policies)
    for url in [WEB] + pods:
        mesh.eventually("outside/plain", url, 200)
    mesh.reset()


@case("E-04-1-3, 4, 5: the guide's DISABLE on port 9000 of httpbin lets plain text in there and nowhere else, and mesh clients too")
def disabled_port(mesh):
    policies = applied(mesh, MTLS)
    mesh.refused("outside/plain", HTTPBIN, "explicitly denied by: production/converted_peer_authentication_httpbin-mtls")
    mesh.eventually("outside/plain", PORT_9000, 200)
    mesh.eventually("production/client", PORT_9000, 200)
    mesh.eventually("production/client", HTTPBIN, 200)
    seed.remove(mesh, policies)
    mesh.eventually("outside/plain", HTTPBIN, 200)
    mesh.reset()


@case("E-04-1-6: probes from the node pass under the guide's STRICT")
def probes(mesh):
    applied(mesh, MTLS)
    mesh.refused("outside/plain", WEB, NO_IDENTITY)
    probe_every_pod(mesh)
    mesh.reset()


SENSITIVE = """
apiVersion: v1
kind: Namespace
metadata: {name: sensitive, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: vault, namespace: sensitive, labels: {app: vault}}
spec: {nodeName: node-b, serviceAccountName: vault, containers: [{name: app, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: vault, namespace: sensitive}
spec: {selector: {app: vault}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: teller, namespace: sensitive, labels: {app: teller}}
spec: {nodeName: node-a, serviceAccountName: teller, containers: [{name: app, ports: [{containerPort: 8080}]}]}
"""


@case("E-04-3-1, 2: the guide's isolation lets sensitive and trusted in and closes all others, whatever their method")
def isolation(mesh):
    mesh.apply(SENSITIVE)
    enrolment.wait_as_labelled(mesh.lab)
    policies = applied(mesh, ISOLATION, "default")
    others = ("production/client", "staging/tester", "istio-system/gateway", "outside/plain")
    for caller in others:
        mesh.refused(caller, "http://vault.sensitive/", NOT_ALLOWED)
    mesh.refused("staging/tester", "http://vault.sensitive/", NOT_ALLOWED, method="POST")
    for caller in ("sensitive/teller", "trusted/friend"):
        for method in ("GET", "DELETE"):
            mesh.eventually(caller, "http://vault.sensitive/", 200, method=method)
    seed.remove(mesh, policies)
    for caller in others:
        mesh.eventually(caller, "http://vault.sensitive/", 200)
    mesh.reset()


@case("E-08-1-1: the guide's PERMISSIVE lets plain text and mesh clients in, and a label tells them apart")
def permissive(mesh):
    applied(mesh, MTLS)
    mesh.refused("outside/plain", WEB, NO_IDENTITY)
    mesh.reset()
    applied(mesh, GRADUAL)
    count_both_kinds(mesh)
    mesh.reset()


@case("E-08-1-2: patched to STRICT under load as the guide says, no mesh request fails and plain text is closed in two seconds")
def gradual(mesh):
    applied(mesh, GRADUAL)
    strict_under_load(mesh, lambda: seed.set_mode(mesh, "default", "production", "STRICT"))
    seed.set_mode(mesh, "default", "production", "PERMISSIVE")
    mesh.eventually("outside/plain", WEB, 200)
    mesh.reset()


@case("E-08-4-1, 2, 3, 4: the guide's hardening lets production in and closes others, plain text and the gateway too")
def hardening(mesh):
    policies = applied(mesh, HARDENING)
    others = ("staging/tester", "trusted/friend", "istio-system/gateway", "outside/plain")
    for caller in others:
        mesh.refused(caller, WEB, NOT_ALLOWED)
    mesh.eventually("production/client", WEB, 200, times=6)
    mesh.apply(without=["AuthorizationPolicy/allow-within-namespace"])
    mesh.refused("production/client", WEB, NOT_ALLOWED)
    seed.remove(mesh, set(policies) & set(mesh.objects))
    for caller in others + ("production/client",):
        mesh.eventually(caller, WEB, 200)
    mesh.reset()


@case("E-08-4-5: in spite of the guide's Sidecar a production pod reaches an address outside (by address: the lab has no DNS)")
def outside(mesh):
    found = applied(mesh, HARDENING)
    expect(any("/Sidecar/" in key for key in found), "the guide's section has no Sidecar: %s" % sorted(found))
    mesh.refused("staging/tester", WEB, NOT_ALLOWED)
    reach_outside(mesh, "production/client")
    mesh.reset()


def guide_command():
    """(namespace, mode) of the label command that stands in the guide's section as text."""
    words = next(text for text in seed.texts_in(COST) if "kubectl label namespace" in text).split()
    return words[words.index("namespace") + 1], words[-1].partition("=")[2]


@case("E-10-3-1, 2: the guide's label takes running pods in without a restart; without it their traffic is plain again")
def label(mesh):
    namespace, mode = guide_command()
    before = mesh.applications()
    for wanted in (None, mode, None, mode):
        mesh.label(namespace, wanted)
        mesh.eventually("production/client", WEB, 200)
        wire = Capture(mesh.lab, "label-%s" % wanted)
        tokens = tokens_of(mesh, "production/client", WEB, 8)
        wire.stop()
        readable = wire.count(tokens)
        expect(readable == (0 if wanted else len(tokens)), "%d of %d tokens are readable with label %s"
               % (readable, len(tokens), wanted))
        wire.remove()
    mesh.reset()
    expect(mesh.applications() == before, "a pod was restarted")


@case("E-10-3-3, 4: the guide's pod is captured in spite of its annotation, and with the label none it is not")
def opt_out(mesh):
    namespace, mode = guide_command()
    mesh.label(namespace, mode)

    def labelled_none(objects):
        pod = mesh.find("Pod", "no-sidecar-pod", namespace, objects)
        pod["metadata"].setdefault("labels", {})["istio.io/dataplane-mode"] = "none"

    applied(mesh, COST, namespace)
    for change, inside in ((None, True), (labelled_none, False)):
        mesh.apply(change=change)
        enrolment.wait_as_labelled(mesh.lab)
        netns = mesh.netns("production/no-sidecar-pod")
        expect(enrolment.is_enrolled(netns) if inside else enrolment.is_free(netns), "redirected or not, but not as labelled")
        mesh.eventually("production/no-sidecar-pod", WEB, 200)
        wire = Capture(mesh.lab, "pod-%s" % inside)
        tokens = tokens_of(mesh, "production/no-sidecar-pod", WEB, 8)
        wire.stop()
        readable = wire.count(tokens)
        expect(readable == (0 if inside else len(tokens)), "%d of %d tokens are readable" % (readable, len(tokens)))
        wire.remove()
    mesh.reset()


@case("all files of the guide, byte for byte in the folder the mesh reads, stop nothing: what they say of production is enforced")
def every_file(mesh):
    state = os.path.join(mesh.lab.folder, "state")
    mesh.eventually("staging/tester", WEB, 200)
    names = [name for name in sorted(os.listdir(seed.FOLDER)) if name[:1].isdigit() and name.endswith(".yaml")]
    expect(len(names) > 15, "the guide's files are %s" % names)
    copies = [os.path.join(state, "guide-" + name) for name in names]
    try:
        for name, copy in zip(names, copies):
            shutil.copyfile(os.path.join(seed.FOLDER, name), copy + ".part")
            os.rename(copy + ".part", copy)
        mesh.refused("staging/tester", WEB, NOT_ALLOWED)
        mesh.eventually("production/client", WEB, 200, times=6)
    finally:
        for copy in copies:
            for path in (copy, copy + ".part"):
                if os.path.exists(path):
                    os.unlink(path)
    mesh.eventually("staging/tester", WEB, 200)
    mesh.reset()
