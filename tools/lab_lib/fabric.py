"""The links of the lab: two nodes and a control namespace around one bridge, the bridge in a namespace of its own.

    fabric      bridge br0 with ports to-node-a, to-node-b, to-control      (nothing of the lab is in the machine's own namespace)
    node-a      uplink 10.88.0.11, fd88::11;   pods behind cni0: 10.88.1.0/24, fd88:0:0:1::/64
    node-b      uplink 10.88.0.12, fd88::12;   pods behind cni0: 10.88.2.0/24, fd88:0:0:2::/64
    control     eth0   10.88.0.2,  fd88::2     certificate authority, Prometheus
    services    10.96.0.0/16, fd88:0:0:96::/112

Labs share no link, so several can use the same addresses at once."""
import os

from .shell import LabError, netns_path, run, set_sysctl

NODES = ("node-a", "node-b")
CONTROL = "control"
ADDRESS = {"node-a": ("10.88.0.11", "fd88::11"), "node-b": ("10.88.0.12", "fd88::12"), CONTROL: ("10.88.0.2", "fd88::2")}
POD_SUBNETS = {"node-a": ("10.88.1.0/24", "fd88:0:0:1::/64"), "node-b": ("10.88.2.0/24", "fd88:0:0:2::/64")}
SERVICE_SUBNETS = ("10.96.0.0/16", "fd88:0:0:96::/112")
POD_BRIDGE = "cni0"


def list_namespaces(prefix):
    try:
        return sorted(name for name in os.listdir("/run/netns") if name.startswith(prefix))
    except FileNotFoundError:
        return []


def add_namespace(name, forward=False):
    """A namespace with its loopback up. Reno, because the machine's default may pace and measure itself (BBR)."""
    run(["ip", "netns", "add", name], hint="the lab needs root (CAP_SYS_ADMIN) to make network namespaces")
    run(["ip", "-n", name, "link", "set", "lo", "up"])
    values = {"net/ipv4/tcp_congestion_control": "reno", "net/ipv6/conf/all/accept_dad": "0",
              "net/ipv6/conf/default/accept_dad": "0", "net/ipv4/conf/all/rp_filter": "0",
              "net/ipv4/conf/default/rp_filter": "0"}
    if forward:
        values.update({"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"})
    set_sysctl(netns_path(name), values)


def delete_namespace(name):
    run(["ip", "netns", "del", name], check=False)


def batch(name, commands):
    run(["ip", "-n", name, "-batch", "-"], data="\n".join(commands) + "\n")


def build(prefix):
    """Makes every namespace and link; the caller deletes the namespaces whatever happens."""
    fabric = prefix + "fabric"
    add_namespace(fabric)
    batch(fabric, ["link add br0 type bridge", "link set br0 up"])
    for part in NODES + (CONTROL,):
        name = prefix + part
        add_namespace(name, forward=part in NODES)
        port = "to-" + part
        inner = "eth0" if part == CONTROL else "uplink"
        batch(fabric, ["link add %s type veth peer name %s netns %s" % (port, inner, name),
                       "link set %s master br0" % port, "link set %s up" % port])
        v4, v6 = ADDRESS[part]
        commands = ["addr add %s/24 dev %s" % (v4, inner), "addr add %s/64 dev %s nodad" % (v6, inner),
                    "link set %s up" % inner]
        for node in NODES:
            if node != part:
                for subnet, hop in zip(POD_SUBNETS[node], ADDRESS[node]):
                    commands.append("route add %s via %s dev %s" % (subnet, hop, inner))
        batch(name, commands)


def bridge_filtering(prefix):
    """Lets the nodes' address translation see replies between two pods of one node, as Kubernetes asks. False when the
    kernel cannot: service addresses then hide the caller's address for such pairs."""
    path = "/proc/sys/net/bridge/bridge-nf-call-iptables"
    if not os.path.exists(path):
        run(["modprobe", "br_netfilter"], check=False)
    if not os.path.exists(path):
        return False
    for node in NODES:
        try:
            set_sysctl(netns_path(prefix + node), {"net/bridge/bridge-nf-call-iptables": "1",
                                                   "net/bridge/bridge-nf-call-ip6tables": "1"})
        except (OSError, LabError):
            return False
    return True
