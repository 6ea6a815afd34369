"""What the mesh itself says happened: ztunnel's access log and its numbers."""
import os
import re

from . import fabric, programs
from .shell import LabError, wait_for

LOG_LIMIT_S = 5
_FIELD = re.compile(r'([a-z_.]+)=("(?:[^"\\]|\\.)*"|\S+)')
_SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
REJECTED = "connection closed due to policy rejection: "


def parse_access(line):
    """The fields of one access-log line, or None for another line. Level and message come as `level` and `message`."""
    parts = line.rstrip("\n").split("\t")
    if len(parts) < 4 or not parts[2].startswith("access"):
        return None
    fields = {key: value[1:-1] if value.startswith('"') else value for key, value in _FIELD.findall("\t".join(parts[4:]))}
    fields.update(level=parts[1], message=parts[3])
    return fields


class Logs:
    """Access logs of both nodes, read from a mark on."""

    def __init__(self, lab):
        self.paths = {node: os.path.join(lab.folder, node, "ztunnel.log") for node in fabric.NODES}
        self.mark()

    def mark(self):
        self.start = {node: os.path.getsize(path) for node, path in self.paths.items()}

    def lines(self):
        """[(node, fields)] since the mark."""
        found = []
        for node, path in self.paths.items():
            with open(path, errors="replace") as handle:
                handle.seek(self.start[node])
                found += [(node, fields) for fields in map(parse_access, handle) if fields]
        return found

    def wait_line(self, what, test, limit_s=LOG_LIMIT_S):
        return wait_for("an access-log line: " + what,
                        lambda: next(((n, f) for n, f in self.lines() if test(n, f)), None), limit_s,
                        "read " + " and ".join(self.paths.values()))


def host_of(address):
    return address.rsplit(":", 1)[0].strip("[]")


def inbound_from(addresses):
    """A test for Logs.wait_line: a refusal on the receiving side of a caller with one of these addresses."""
    return lambda node, fields: (fields.get("direction") == "inbound" and fields.get("error", "").startswith(REJECTED)
                                 and host_of(fields.get("src.addr", "")) in addresses)


def parse_metrics(text):
    """[(name, labels, number)] of a metrics page."""
    found = []
    for line in text.splitlines():
        match = None if line.startswith("#") else _SAMPLE.match(line)
        if match:
            found.append((match.group(1), dict(_LABEL.findall(match.group(2) or "")), float(match.group(3))))
    return found


def metrics(lab, node, port=programs.ZTUNNEL_STATS):
    status, text = programs.http_get(lab.prefix + node, port, "/metrics", limit_s=5)
    if status != 200:
        raise LabError("no numbers from port %d on %s: %s %s" % (port, node, status, text[:200]))
    return parse_metrics(text)


def total(samples, name, **labels):
    """Sum over the samples of that name whose labels have these values; a tuple means one of several."""
    def fits(have):
        return all(have.get(k) in v if isinstance(v, tuple) else have.get(k) == v for k, v in labels.items())

    return sum(value for sample, have, value in samples if sample == name and fits(have))


def refusal(lab, logs, caller_key, target_pods):
    """(node, policy text) of the newest refusal of this caller. An ALLOW refusal names no policy in the log (none is to blame
    alone); the policies that apply to the target are added."""
    addresses = lab.data["pods"][caller_key]["ips"]
    node, fields = logs.wait_line("refusal of " + caller_key, inbound_from(addresses))
    reason = fields["error"][len(REJECTED):]
    if reason.startswith("explicitly denied by: "):
        name = reason.split(": ", 1)[1]
        return node, name + (" (PeerAuthentication STRICT: no identity)" if "converted" in name else "")
    names = sorted({"%(namespace)s/%(name)s" % o["metadata"] for o in lab.objects.values()
                    if o["kind"] == "AuthorizationPolicy" and applies(o, target_pods)})
    return node, "%s (%s)" % (", ".join(names), reason)


def applies(policy, pods, root="istio-system"):
    """Whether an ALLOW policy that ztunnel enforces applies to any of the pods."""
    spec = policy.get("spec") or {}
    if spec.get("action", "ALLOW") != "ALLOW" or spec.get("targetRef") or spec.get("targetRefs"):
        return False
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    namespace = policy["metadata"]["namespace"]
    return any((pod["metadata"]["namespace"] == namespace or (namespace == root and not wanted)) and
               all((pod["metadata"].get("labels") or {}).get(k) == v for k, v in wanted.items()) for pod in pods)
