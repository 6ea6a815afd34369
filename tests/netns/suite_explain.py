"""What `weftctl explain` says of every pair is what happens to every pair: asked of the manifests and of both running nodes,
then dialled, in the demonstration's scenario and beside it that of suite_policies, under several sets of policies."""
import json
from concurrent.futures import ThreadPoolExecutor

from harness import case, evidence, expect, fabric, matrix, netns_path, programs, scenario, wait_for
from lab_lib.shell import run

PORTS = (8080, 9000)  # every pod listens on both
OWN_PORTS = (15001, 15006, 15008)  # of the node proxy, in every pod of the mesh; nobody may call them
UNKNOWN_PORT = 81                  # that no service has
DIALLERS = 4          # callers that dial at once
DIAL_LIMIT_S = 5
SETTLE_LIMIT_S = 15
SECURITY = ("PeerAuthentication", "AuthorizationPolicy")


def objects():
    found = {**scenario("policies"), **scenario("shop")}
    for item in found.values():
        spec = item.get("spec") or {}
        for container in (spec.get("template") or {}).get("spec", spec).get("containers") or []:
            container["ports"] = [{"containerPort": port} for port in PORTS]
        if item["kind"] == "Service":
            spec["ports"] = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "plain", "port": 9000, "targetPort": 9000}]
    return found


# ------------------------------------------------------------------ pairs
def host(address):
    return "[%s]" % address if ":" in address else address


def principal(mesh, key):
    pod = mesh.lab.data["pods"][key]["object"]
    return "cluster.local/ns/%s/sa/%s" % (pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]) \
        if matrix.in_mesh(mesh.lab, key) else None


def pairs(mesh, refused_ports):
    """{caller: [(question, what to dial)]}: every pod to every pod, itself too, and every service, each port, each family;
    if asked for, the ports that are refused without a policy too."""
    found = {}
    services = [s for s in mesh.lab.services() if mesh.lab.endpoints(s)]
    for caller in sorted(mesh.lab.data["pods"]):
        rows = found[caller] = []

        def add(destination, address, port):
            own = next(ip for ip in mesh.ips(caller) if (":" in ip) == (":" in address))
            question = {"id": "%s %s:%d" % (caller, host(address), port),
                        "source": {"pod": caller, "principal": principal(mesh, caller), "ip": own},
                        "destination": dict(destination, ip=address, port=port)}
            rows.append((question, "http://%s:%d/" % (host(address), port)))

        for target in sorted(mesh.lab.data["pods"]):
            for address in mesh.ips(target):
                for port in PORTS + (OWN_PORTS if refused_ports and matrix.in_mesh(mesh.lab, target) else ()):
                    add({"pod": target}, address, port)
        for service in services:
            name = "%(namespace)s/%(name)s" % service["metadata"]
            for address in mesh.lab.data["services"][name]:
                for port in (80, 9000) + ((UNKNOWN_PORT,) if refused_ports else ()):
                    add({"service": name}, address, port)
    return found


# ------------------------------------------------------------------ asking and dialling
def explain(mesh, questions, node=None):
    """Answers of a node, or of the manifests its programs read."""
    argv = [programs.find(mesh.lab.data["build"], "weftctl"), "explain"]
    if node:
        argv = ["nsenter", "--net=" + netns_path(mesh.lab.prefix + node), "--"] + argv + ["--admin", "127.0.0.1"]
    else:
        argv += ["--manifests", mesh.lab.programs().state]
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    return [json.loads(line) for line in run(argv, data=lines, limit=60).stdout.splitlines()]


def differences(one, other):
    return ["%s / %s" % pair for pair in zip(one, other) if pair[0] != pair[1]]


def ask_everybody(mesh, questions):
    """The answers of the manifests, once both nodes answer the same, word for word."""
    answers = explain(mesh, questions)
    expect([a.get("id") for a in answers] == [q["id"] for q in questions], "answers are missing or out of order")
    errors = [a for a in answers if "error" in a]
    expect(not errors, "%d questions have no answer: %s" % (len(errors), errors[:3]))
    for node in fabric.NODES:
        last = []

        def agrees():
            last[:] = differences(answers, explain(mesh, questions, node))
            return not last

        try:
            wait_for("%s to answer as the manifests do" % node, agrees, SETTLE_LIMIT_S)
        except Exception as problem:
            raise AssertionError("%s; %d differ: %s" % (problem, len(last), last[:3]))
    return answers


def dial(mesh, caller, rows):
    """Outcomes, one for each row."""
    requests = [{"url": url, "limit_s": DIAL_LIMIT_S} for _, url in rows]
    return [got["outcome"] for got in mesh.lab.ask(caller, requests, limit_s=60 + DIAL_LIMIT_S * len(rows))]


def refusals(logs):
    """{(caller's address, reason)} of what node proxies refused by policy."""
    return {(evidence.host_of(f.get("src.addr", "")), f["error"][len(evidence.REJECTED):]) for _, f in logs.lines()
            if f.get("error", "").startswith(evidence.REJECTED)}


def check(mesh, title, refused_ports=False):
    """No disagreement about any pair. Returns how many there were, as a text, and the answers."""
    rows = pairs(mesh, refused_ports)
    flat = [(caller, question, url) for caller, found in rows.items() for question, url in found]
    answers = ask_everybody(mesh, [question for _, question, _ in flat])
    logs = evidence.Logs(mesh.lab)
    with ThreadPoolExecutor(DIALLERS) as pool:
        outcomes = [outcome for part in pool.map(lambda caller: dial(mesh, caller, rows[caller]), rows) for outcome in part]
    wrong = ["%s: explained as %s (%s), dialled: %s" % (q["id"], a["decision"], a["reason"], outcome)
             for (_, q, _), a, outcome in zip(flat, answers, outcomes) if (a["decision"] == "allow") != (outcome == 200)]
    denied = sum(a["decision"] == "deny" for a in answers)
    expect(not wrong, "%d of %d pairs end otherwise:\n%s" % (len(wrong), len(flat), "\n".join(wrong[:10])))
    reasons(flat, answers, logs)
    return "%s: %d pairs, %d of them denied; no disagreement" % (title, len(flat), denied), answers


def reasons(flat, answers, logs):
    """The nodes' logs give the reasons that were explained."""
    wanted = {(q["source"]["ip"], a["reason"].split(" at pod ")[0], q["id"])
              for (_, q, _), a in zip(flat, answers) if a["decision"] == "deny" and a["layer"] == "l4"}

    def missing():
        logged = refusals(logs)
        return [w for w in wanted if (w[0], w[1]) not in logged]

    try:
        wait_for("the logs to give every reason", lambda: not missing(), evidence.LOG_LIMIT_S)
    except Exception:
        raise AssertionError("no log gives what was explained: %s" % missing()[:5])


# ------------------------------------------------------------------ policies
def authorization(name, namespace, spec):
    return "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: %s, namespace: %s}\nspec: %s\n---\n" \
        % (name, namespace, spec)


def authentication(name, namespace, spec):
    return "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: %s, namespace: %s}\nspec: %s\n---\n" \
        % (name, namespace, spec)


def without_policies(mesh):
    mesh.apply(without=["%s/%s" % (o["kind"], o["metadata"]["name"]) for o in mesh.objects.values() if o["kind"] in SECURITY])


@case("the scenario of the demonstration, as it is")
def demonstration(mesh):
    said, answers = check(mesh, "as it is", refused_ports=True)
    kinds = {(a["decision"], a["kind"]) for a in answers}
    expect({("allow", "AuthorizationPolicy"), ("allow", None), ("deny", "AuthorizationPolicy"), ("deny", "PeerAuthentication"),
            ("deny", None)} <= kinds, kinds)
    return said


@case("without STRICT, ALLOW policies alone stand before callers of the mesh and outside it")
def no_strict(mesh):
    mesh.apply(without=["PeerAuthentication/default"])
    said, _ = check(mesh, "without STRICT")
    mesh.reset()
    return said


@case("without policies everybody reaches everybody")
def open_mesh(mesh):
    without_policies(mesh)
    said, answers = check(mesh, "without policies")
    expect(all(a["decision"] == "allow" and a["layer"] == "none" for a in answers), "a policy that is gone decides")
    mesh.reset()
    return said


@case("STRICT of the whole mesh with exceptions by workload and port, and one STRICT port in a permissive workload")
def modes(mesh):
    without_policies(mesh)
    mesh.apply(authentication("default", "istio-system", "{mtls: {mode: STRICT}}") +
               authentication("open", "staging", "{mtls: {mode: PERMISSIVE}}") +
               authentication("port", "production", "{selector: {matchLabels: {app: httpbin}}, mtls: {mode: STRICT}, "
                              "portLevelMtls: {9000: {mode: DISABLE}}}") +
               authentication("one-port", "ecommerce", "{selector: {matchLabels: {app: users}}, mtls: {mode: PERMISSIVE}, "
                              "portLevelMtls: {9000: {mode: STRICT}}}"))
    said, _ = check(mesh, "modes by port")
    mesh.reset()
    return said


@case("deny by default with exceptions: by namespace, identity, port and address; DENY goes before ALLOW")
def rules(mesh):
    without_policies(mesh)
    plain = mesh.ips("outside/plain")
    blocks = "[%s]" % ", ".join("'%s/%d'" % (ip, 128 if ":" in ip else 32) for ip in plain)
    mesh.apply(authorization("default-deny-all", "production", "{}") +
               authorization("within", "production", "{rules: [{from: [{source: {namespaces: [production]}}]}, "
                             "{to: [{operation: {methods: [GET]}}]}]}") +
               authorization("address", "production", "{selector: {matchLabels: {app: httpbin}}, rules: [{from: [{source: "
                             "{ipBlocks: %s}}], to: [{operation: {ports: ['9000']}}]}]}" % blocks) +
               authorization("no-9000", "ecommerce", "{action: DENY, selector: {matchLabels: {app: catalog}}, rules: [{to: "
                             "[{operation: {ports: ['9000']}}]}]}") +
               authorization("not-frontend", "ecommerce", "{action: DENY, selector: {matchLabels: {app: orders}}, rules: [{from: "
                             "[{source: {notPrincipals: ['cluster.local/ns/ecommerce/sa/frontend']}}]}]}") +
               authorization("nobody-known", "istio-system", "{action: DENY, rules: [{from: [{source: {namespaces: "
                             "['stag*']}}]}]}"))
    said, _ = check(mesh, "rules")
    mesh.reset()
    return said


@case("a namespace that leaves the mesh: its pods are reached as they are, and prove no identity any more")
def left(mesh):
    mesh.label("production", None)
    out, _ = check(mesh, "a namespace left")
    mesh.reset()
    back, _ = check(mesh, "and came back")
    return out + "\n" + back
