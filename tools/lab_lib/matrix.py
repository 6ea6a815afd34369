"""Who may reach whom: asks every service from one pod of each identity, and looks up who refused."""
import secrets

from . import evidence, manifests
from .shell import Process

CALLERS_MAX = 12
TARGETS_MAX = 12


def enrolled_by_labels(pod, namespaces):
    """Whether the labels put a pod into the mesh (pod label first, then its namespace's)."""
    labels = pod["metadata"].get("labels") or {}
    mode = labels.get("istio.io/dataplane-mode")
    if pod["spec"].get("hostNetwork") or "sidecar.istio.io/status" in (pod["metadata"].get("annotations") or {}):
        return False
    if mode in ("ambient", "none"):
        return mode == "ambient"
    namespace = namespaces.get(pod["metadata"]["namespace"]) or {}
    return (namespace["metadata"].get("labels") or {}).get("istio.io/dataplane-mode") == "ambient" if namespace else False


def namespaces_of(lab):
    return {o["metadata"]["name"]: o for o in lab.objects.values() if o["kind"] == "Namespace"}


def in_mesh(lab, key):
    return lab.data["mesh"] and enrolled_by_labels(lab.data["pods"][key]["object"], namespaces_of(lab))


def callers(lab):
    """One pod per identity: {(namespace, service account, in the mesh): key}."""
    found = {}
    for key, record in sorted(lab.data["pods"].items()):
        if record.get("process"):
            pod = record["object"]
            found.setdefault((pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"], in_mesh(lab, key)), key)
    return dict(list(found.items())[:CALLERS_MAX])


def targets(lab):
    """Services with pods behind a TCP port: {key: (url, pods)}."""
    found = {}
    for service in lab.services():
        pods = lab.endpoints(service)
        port = next((p["port"] for p in service["spec"].get("ports") or []
                     if str(p.get("protocol", "TCP")) == "TCP" and any(manifests.target_port(p, pod) for pod in pods)), None)
        if port and service["spec"].get("type") != "ExternalName":
            meta = service["metadata"]
            url = "http://%s.%s.svc.cluster.local:%d/" % (meta["name"], meta["namespace"], port)
            found["%s/%s" % (meta["namespace"], meta["name"])] = (url, pods)
    return dict(list(found.items())[:TARGETS_MAX])


def ask_all(lab, refusals=True):
    """Asks everybody from everybody, one request at a time. Returns cells: dicts with caller, target, outcome, token, secret
    (both ends in the mesh, so nobody may read the token on the wire) and, when refused, node and policy."""
    cells = []
    logs = evidence.Logs(lab) if lab.data["mesh"] else None
    for caller in callers(lab).values():
        for target, (url, pods) in targets(lab).items():
            token = "token-" + secrets.token_hex(12)
            if logs:
                logs.mark()
            got = lab.ask(caller, [{"url": url, "headers": {"x-token": token}}])[0]
            keys = ["%(namespace)s/%(name)s" % pod["metadata"] for pod in pods]
            secret = in_mesh(lab, caller) and all(in_mesh(lab, key) for key in keys)
            cell = {"caller": caller, "target": target, "outcome": got["outcome"], "token": token, "secret": secret,
                    "answer": got.get("body"), "error": got.get("error", "")}
            if logs and refusals and got["outcome"] in ("closed", "timeout"):
                cell["node"], cell["policy"] = evidence.refusal(lab, logs, caller, pods)
            cells.append(cell)
    return cells


def label(lab, key):
    pod = lab.data["pods"][key]["object"]
    return "%s/%s%s" % (pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"],
                        "" if in_mesh(lab, key) else " (no mesh)")


def table(lab, cells):
    """The matrix as lines of text."""
    columns = list(dict.fromkeys(cell["target"] for cell in cells))
    rows = list(dict.fromkeys(cell["caller"] for cell in cells))
    by = {(cell["caller"], cell["target"]): cell for cell in cells}
    first = max([len(label(lab, row)) for row in rows] + [6])
    lines = ["%-*s  %s" % (first, "caller", "  ".join("%-14s" % column.split("/")[1] for column in columns))]
    for row in rows:
        words = []
        for column in columns:
            outcome = by[(row, column)]["outcome"]
            words.append("%-14s" % ("yes" if isinstance(outcome, int) and outcome < 500 else "refused"
                                    if outcome == "closed" else outcome))
        lines.append("%-*s  %s" % (first, label(lab, row), "  ".join(words)))
    return [line.rstrip() for line in lines]


def all_alive(lab):
    """Names of programs and applications that have ended by themselves."""
    processes = list(lab.data["processes"]) + [r["process"] for r in lab.data["pods"].values() if r.get("process")]
    return [p["name"] for p in processes if not Process.from_json(p).alive()]
