"""Lanes with a build of Istio's ztunnel at one end or both, for comparison and to see that either side can be replaced. It runs
in our lab, with our agent and our certificate authority; the mesh's state it gets from a local file, which every ztunnel
of these lanes reads, as it knows no folder of manifests."""
import os

from lab_lib import fabric
from lab_lib.shell import LabError, write_file

from .lanes import CLIENT, SERVER, Weft, WeftLab, version_of

# The first address the pods' address plugin gives in each node's subnet.
FIRST_POD = {CLIENT: ("10.88.1.2", "fd88:0:0:1::2"), SERVER: ("10.88.2.2", "fd88:0:0:2::2")}
NODE_OF = dict(zip((CLIENT, SERVER), fabric.NODES))


def local_state():
    """Both pods in ztunnel's local configuration format."""
    lines = ["workloads:"]
    for pod, addresses in FIRST_POD.items():
        namespace, name = pod.split("/")
        lines += ["- uid: Kubernetes//Pod/" + pod, "  name: " + name, "  namespace: " + namespace,
                  "  serviceAccount: " + name, "  trustDomain: cluster.local", "  clusterId: Kubernetes",
                  "  workloadName: " + name, "  workloadType: pod", "  canonicalName: " + name,
                  "  canonicalRevision: latest", "  workloadIps: [%s]" % ", ".join('"%s"' % a for a in addresses),
                  "  protocol: HBONE", "  node: " + NODE_OF[pod], '  network: ""', "  services: {}"]
    return "\n".join(lines) + "\n"


class _MixedLab(WeftLab):
    """Some nodes run another ztunnel."""

    others = {}  # node: program

    def start_programs(self):
        state = os.path.join(self.folder, "control", "local.yaml")
        write_file(state, local_state())
        self.ztunnel_env = dict(self.ztunnel_env, LOCAL_XDS_PATH=state, MANIFEST_DIR="")
        super().start_programs()

    def programs(self):
        made = super().programs()
        start = made.start

        def replaced(part, name, argv, env=None):
            return start(part, name, [self.others[part]] + argv[1:] if name == "ztunnel" and part in self.others else argv, env)

        made.start = replaced
        return made


class Upstream(Weft):
    name = "upstream"
    nodes = fabric.NODES  # those that run it
    lab_class = _MixedLab

    def __init__(self, settings):
        super().__init__(settings)
        self.lab.others = dict.fromkeys(self.nodes, settings.upstream)

    @staticmethod
    def missing(settings):
        found = Weft.missing(settings)
        if not settings.upstream or not os.access(settings.upstream, os.X_OK):
            found.append("a build of upstream's ztunnel (name it with --upstream)")
        return found

    def start_proxies(self):
        for pod, expected in FIRST_POD.items():
            if self.lab.data["pods"][pod]["ips"][0] != expected[0]:
                raise LabError("pod %s has the address %s, the mesh's state says %s"
                               % (pod, self.lab.data["pods"][pod]["ips"], expected[0]))
        super().start_proxies()

    def version(self):
        return "%s at %s" % (version_of(self.settings.upstream), " and ".join(self.nodes))


class ToUpstream(Upstream):
    name = "to-upstream"
    nodes = fabric.NODES[1:]


class FromUpstream(Upstream):
    name = "from-upstream"
    nodes = fabric.NODES[:1]
