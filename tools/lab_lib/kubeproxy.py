"""Plays kube-proxy: service addresses become pod addresses in each node's packet rules, for callers outside the mesh.

Pods of the mesh do not need it: their ztunnel resolves service addresses before a packet leaves the pod."""
import ipaddress

from .manifests import target_port
from .shell import netns_path, run

TABLE = "weft-lab-services"


def ruleset(services, endpoints, hide_local_callers=()):
    """The whole table as text. `services`: Service objects with addresses; `endpoints(service)`: its ready pods with podIPs.
    `hide_local_callers`: pod subnets of this node, when the kernel cannot translate replies inside a bridge."""
    forward, reject, own = [], [], {"ip": set(), "ip6": set()}
    for service in services:
        spec = service["spec"]
        pods = endpoints(service)
        for address in spec.get("clusterIPs") or []:
            if address == "None":
                continue
            version = ipaddress.ip_address(address).version
            family = "ip" if version == 4 else "ip6"
            for port in spec.get("ports") or []:
                protocol = str(port.get("protocol", "TCP")).lower()
                if protocol not in ("tcp", "udp"):
                    continue
                goals = []
                for pod in pods:
                    number = target_port(port, pod)
                    for item in pod["status"].get("podIPs") or []:
                        if number and ipaddress.ip_address(item["ip"]).version == version:
                            goals.append("%s . %d" % (item["ip"], number))
                            own[family].add("%s . %s" % (item["ip"], item["ip"]))
                match = "%s daddr %s %s dport %d" % (family, address, protocol, port["port"])
                if goals:
                    choice = ", ".join("%d : %s" % pair for pair in enumerate(goals))
                    forward.append("%s dnat %s to numgen random mod %d map { %s }" % (match, family, len(goals), choice))
                else:
                    reject.append("%s reject%s" % (match, " with tcp reset" if protocol == "tcp" else ""))
    lines = ["table inet %s {}" % TABLE, "delete table inet %s" % TABLE, "table inet %s {" % TABLE,
             "  chain services {"] + ["    " + rule for rule in forward] + ["  }",
             "  chain closed {"] + ["    " + rule for rule in reject] + ["  }",
             "  chain prerouting { type nat hook prerouting priority dstnat; jump services; }",
             "  chain output { type nat hook output priority -100; jump services; }",
             "  chain forward { type filter hook forward priority filter; jump closed; }",
             "  chain local { type filter hook output priority filter; jump closed; }"]
    lines.append("  chain postrouting { type nat hook postrouting priority srcnat;")
    for family, pairs in own.items():
        if pairs:  # a pod that is given itself would see its own address as the caller's
            lines.append("    ct status dnat %s saddr . %s daddr { %s } masquerade" % (family, family, ", ".join(sorted(pairs))))
    for subnet in hide_local_callers:
        family = "ip6" if ":" in subnet else "ip"
        lines.append("    ct status dnat %s saddr %s %s daddr %s masquerade" % (family, subnet, family, subnet))
    lines.append("  }")
    return "\n".join(lines + ["}", ""])


def apply(node_namespace, text):
    """One transaction: callers see the old rules or the new."""
    run(["nsenter", "--net=" + netns_path(node_namespace), "--", "nft", "-f", "-"], data=text,
        hint="the lab needs nftables (package nftables) and a kernel with nf_tables")
