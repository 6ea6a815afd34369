"""Whether a pod's namespace is redirected to ztunnel, seen from outside: packet rules and listeners, not anybody's word."""
from . import matrix
from .shell import in_netns, netns_path, run, wait_for

PORTS = (15001, 15006, 15008)
LIMIT_S = 20


def listening(namespace):
    """Ports on which something listens in the namespace."""
    def body():
        found = set()
        for name in ("tcp", "tcp6"):
            try:
                with open("/proc/thread-self/net/" + name) as handle:
                    for row in handle.readlines()[1:]:
                        fields = row.split()
                        if fields[3] == "0A":
                            found.add(int(fields[1].rsplit(":", 1)[1], 16))
            except OSError:
                pass
        return found

    return in_netns(netns_path(namespace), body)


def has_legacy_tables(namespace):
    def body():
        try:
            with open("/proc/thread-self/net/ip_tables_names") as handle:
                return bool(handle.read())
        except OSError:
            return False

    return in_netns(netns_path(namespace), body)


def rules(namespace):
    """The mesh's packet rules in the namespace, as text, whichever program keeps them; empty when there are none."""
    inside = ["nsenter", "--net=" + netns_path(namespace), "--"]
    text = run(inside + ["nft", "list", "ruleset"]).stdout
    if has_legacy_tables(namespace):
        text += run(inside + ["iptables-legacy-save"]).stdout
    return text if "15001" in text or "istio" in text.lower() else ""


def is_enrolled(namespace):
    return set(PORTS) <= listening(namespace) and bool(rules(namespace))


def is_free(namespace):
    return not rules(namespace)


def wait_as_labelled(lab, keys=None, limit_s=LIMIT_S):
    """Until every running pod is enrolled or free, as its labels say."""
    for key in keys or [k for k, r in lab.data["pods"].items() if r.get("process")]:
        record = lab.data["pods"][key]
        if record["object"]["spec"].get("hostNetwork"):
            continue
        wanted = matrix.in_mesh(lab, key)
        wait_for("pod %s to be %s the mesh" % (key, "in" if wanted else "out of"),
                 lambda: (is_enrolled if wanted else is_free)(record["netns"]), limit_s,
                 "read the logs in %s/%s" % (lab.folder, record["node"]))
