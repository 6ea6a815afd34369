"""Plays the container runtime's part of the CNI: runs a chain of plugins over one pod, and backwards to remove it.

Each plugin is executed in the node's network namespace with CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH and
CNI_ARGS, its configuration on stdin; the result of one is the `prevResult` of the next (CNI specification 1.0, section 2)."""
import json
import os

from . import fabric
from .shell import LabError, netns_path, run

PLUGIN_FOLDER = "/usr/lib/cni"
VERSION = "1.0.0"
LIMIT_S = 40
IFNAME = "eth0"


class PluginError(LabError):
    """A plugin refused. `reply` is its error object."""

    def __init__(self, plugin, command, pod, reply):
        self.reply = reply
        super().__init__("CNI %s of %s refused %s: %s" % (command, pod, plugin, reply.get("msg") or reply),
                         "the logs of the node agent and of ztunnel say why")


def bridge_config(node, data_folder):
    """Debian's bridge plugin: a port on the node's pod bridge, an IPv4 and an IPv6 address, the node as gateway."""
    v4, v6 = fabric.POD_SUBNETS[node]
    return {"type": "bridge", "bridge": fabric.POD_BRIDGE, "isDefaultGateway": True, "hairpinMode": True,
            "ipam": {"type": "host-local", "dataDir": data_folder, "ranges": [[{"subnet": v4}], [{"subnet": v6}]]}}


def mesh_config(binary, run_folder, state_folder):
    return {"type": os.path.basename(binary), "ambient_enabled": True, "cni_agent_run_dir": run_folder,
            "manifest_dir": state_folder, "exclude_namespaces": ["kube-system"], "pod_namespace": "istio-system",
            "enablement_selectors": [
                {"podSelector": {"matchLabels": {"istio.io/dataplane-mode": "ambient"}}},
                {"podSelector": {"matchExpressions": [
                    {"key": "istio.io/dataplane-mode", "operator": "NotIn", "values": ["none"]}]},
                 "namespaceSelector": {"matchLabels": {"istio.io/dataplane-mode": "ambient"}}}],
            "plugin_log_level": "info"}


class Chain:
    """The plugins of one node. `extra_folder` is where the mesh's plugin lives, or None for the bridge alone."""

    def __init__(self, node, namespace, configs, extra_folder, log):
        self.node, self.namespace, self.configs, self.log = node, namespace, configs, log
        self.path = ":".join(filter(None, [extra_folder, PLUGIN_FOLDER]))

    def add(self, pod, netns):
        """Returns the addresses the pod got. A refusal takes back what was done and is raised."""
        result = None
        try:
            for config in self.configs:
                result = self._call("ADD", config, pod, netns, result)
        except LabError:
            self.delete(pod, netns, result)
            raise
        return [item["address"].split("/")[0] for item in result.get("ips") or []]

    def check(self, pod, netns, result):
        for config in self.configs:
            self._call("CHECK", config, pod, netns, result)

    def delete(self, pod, netns, result=None):
        """Removal goes on through failures, as a runtime would try again: nothing may be left."""
        for config in reversed(self.configs):
            try:
                self._call("DEL", config, pod, netns, result)
            except LabError as problem:
                with open(self.log, "a") as handle:
                    handle.write("DEL: %s\n" % problem)

    def _call(self, command, config, pod, netns, previous):
        meta = pod["metadata"]
        config = dict(config, cniVersion=VERSION, name="weft-lab")
        if previous is not None:
            config["prevResult"] = previous
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CNI_COMMAND": command, "CNI_CONTAINERID": meta["uid"],
               "CNI_NETNS": netns, "CNI_IFNAME": IFNAME, "CNI_PATH": self.path,
               "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;K8S_POD_INFRA_CONTAINER_ID=%s;K8S_POD_UID=%s"
                           % (meta["namespace"], meta["name"], meta["uid"], meta["uid"])}
        binary = next((os.path.join(folder, config["type"]) for folder in self.path.split(":")
                       if os.path.exists(os.path.join(folder, config["type"]))), None)
        if not binary:
            raise LabError("CNI plugin %s is in none of %s" % (config["type"], self.path),
                           "install containernetworking-plugins, build the mesh (tools/setup, tools/test --build-only)")
        done = run(["nsenter", "--net=" + netns_path(self.namespace), "--", binary], data=json.dumps(config), env=env,
                   limit=LIMIT_S, check=False)
        with open(self.log, "a") as handle:
            handle.write("%s %s %s/%s: exit %d %s\n%s" % (command, config["type"], meta["namespace"], meta["name"],
                                                          done.returncode, " ".join(done.stdout.split()), done.stderr))
        try:
            reply = json.loads(done.stdout) if done.stdout.strip() else {}
        except ValueError:
            reply = {"msg": "not JSON: " + done.stdout[:300]}
            done.returncode = done.returncode or 1
        if done.returncode:
            raise PluginError(config["type"], command, "%s/%s" % (meta["namespace"], meta["name"]),
                              reply or {"msg": done.stderr[-500:]})
        return reply
