"""The lab itself: what happens on up, apply and down, in order. One folder below /run per lab, private to root.

    lab.json     what exists: namespaces' prefix, pods, addresses, processes    state/     what the mesh programs read
    NODE/        logs, sockets and address book of a node                       control/   authority, Prometheus
    hosts/       names, a file per namespace                                    pods/      a log per pod"""
import contextlib
import datetime
import fcntl
import ipaddress
import json
import os
import re
import shutil
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import yaml

from . import cni, fabric, kubeproxy, manifests, names
from .programs import Programs, find
from .shell import LabError, Process, dump_json, netns_path, run, stop_all, wait_for, write_file

ROOT = "/run/weft-lab"
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
APPS = os.path.join(REPOSITORY, "tests", "apps")
PYTHON = "/usr/bin/python3"
PARALLEL_PODS = 4
APP_LIMIT_S = 30
LOCK_LIMIT_S = 120
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Lab:
    """One lab. `say` receives progress lines."""

    def __init__(self, name="lab", build=None, mesh=True, say=None, engine=None, rules=None):
        if len(name) > 20 or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
            raise LabError("%r cannot be the name of a lab" % name, "use at most 20 lower-case letters, digits and dashes")
        self.name, self.prefix, self.folder = name, "weft-%s--" % name, os.path.join(ROOT, name)
        self.say = say or (lambda text: None)
        self.data = {"build": build, "mesh": mesh, "source": None, "processes": [], "pods": {}, "services": {},
                     "seen": {}, "local_replies": True, "engine": engine, "rules": rules}
        self.env, self.wrap = {}, []  # for programs started from now on: more variables, what starts them (prlimit ...)
        self.objects = {}       # what state/ holds besides pods
        self.problems = {}
        self.depth = 0

    # -------------------------------------------------------------- life
    @classmethod
    def open(cls, name, say=None):
        """A lab that is up."""
        lab = cls(name, say=say)
        lab.load()
        return lab

    def exists(self):
        return os.path.exists(os.path.join(self.folder, "lab.json"))

    def load(self):
        try:
            with open(os.path.join(self.folder, "lab.json")) as handle:
                self.data = json.load(handle)
        except (OSError, ValueError):
            raise LabError("there is no lab called %s" % self.name, "start one: tools/lab up --name %s FOLDER" % self.name)

    def save(self):
        write_file(os.path.join(self.folder, "lab.json"), dump_json(self.data))

    @contextlib.contextmanager
    def locked(self):
        """One change at a time, also between processes. May be entered again by its holder."""
        if self.depth:
            yield
            return
        os.makedirs(ROOT, 0o700, exist_ok=True)
        with open(os.path.join(ROOT, self.name + ".lock"), "w") as handle:
            def probe():
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
                except BlockingIOError:
                    return False

            wait_for("another change to lab %s to finish" % self.name, probe, LOCK_LIMIT_S)
            self.depth += 1
            try:
                if self.exists():
                    self.load()
                yield
            finally:
                self.depth -= 1
                if not self.exists():
                    with contextlib.suppress(OSError):
                        os.unlink(handle.name)
                        os.rmdir(ROOT)

    def start(self):
        """Everything but pods: namespaces, authority, agents, ztunnels. A failure takes back what was made."""
        if os.geteuid():
            raise LabError("the lab makes network namespaces and needs root", "run it with sudo")
        with self.locked():
            if self.exists() or fabric.list_namespaces(self.prefix):
                raise LabError("a lab called %s is already there" % self.name,
                               "take it down: tools/lab down --name %s; or choose another --name" % self.name)
            build = self.data["build"] = os.path.abspath(self.data["build"] or os.path.join(REPOSITORY, "build"))
            if self.data["mesh"]:
                for program in ("weft-certs", "weft-agent", "weft-cni", "ztunnel"):
                    find(build, program)
            for part in ("state", "hosts", "pods", "control") + fabric.NODES:
                os.makedirs(os.path.join(self.folder, part), 0o700)
            self.save()
            try:
                self.say("network: two nodes, a control namespace, one bridge")
                fabric.build(self.prefix)
                self.data["local_replies"] = fabric.bridge_filtering(self.prefix)
                write_file(os.path.join(self.folder, "hosts", "resolv.conf"), "# names come from the hosts file\n")
                write_file(os.path.join(self.folder, "hosts", "nsswitch.conf"), "hosts: files\n")
                self.write_state()
                if self.data["mesh"]:
                    self.start_programs()
                self.save()
            except BaseException:
                self.stop()
                raise

    def start_programs(self):
        programs = self.programs()
        self.say("certificate authority")
        programs.start_authority()
        for node in fabric.NODES:
            self.say("agent and ztunnel on " + node)
            programs.start_agent(node)
            programs.start_ztunnel(node)

    def programs(self):
        return Programs(self.prefix, self.folder, self.data["build"], self.keep, engine=self.data.get("engine"),
                        rules=self.data.get("rules"), env=self.env, wrap=self.wrap)

    def keep(self, process):
        """Remembers a background process, at once, so that `down` ends it whatever happens next."""
        self.data["processes"].append(process.to_json())
        self.save()

    def process(self, name):
        """The newest process of that name, for example "ztunnel on node-a"; None when there is none."""
        return next((Process.from_json(p) for p in reversed(self.data["processes"]) if p["name"] == name), None)

    def stop_process(self, name, limit_s=10):
        process = self.process(name)
        if process:
            stop_all([process], limit_s)
            self.data["processes"] = [p for p in self.data["processes"] if p["pid"] != process.pid]
            self.save()

    def stop(self):
        """Removes everything: pods as a runtime would, then programs, then namespaces and the folder."""
        with self.locked():
            watchers = [Process.from_json(p) for p in self.data["processes"] if p["name"] == "watch"]
            stop_all([w for w in watchers if w.pid != os.getpid()])
            stop_all([Process.from_json(p["process"]) for p in self.data["pods"].values() if p.get("process")])
            if os.path.isdir(self.folder):
                for key in list(self.data["pods"]):
                    self._remove_network(key)
            killed = stop_all([Process.from_json(p) for p in reversed(self.data["processes"])
                               if p["pid"] != os.getpid()])
            for name in killed:
                self.say("warning: %s did not end when asked and was killed" % name)
            for name in fabric.list_namespaces(self.prefix):
                left = run(["ip", "netns", "pids", name], check=False).stdout.split()
                if left:
                    self.say("warning: process %s still runs in %s, whose links live as long as it does"
                             % (", ".join(left), name))
                fabric.delete_namespace(name)
            shutil.rmtree(self.folder, ignore_errors=True)

    # -------------------------------------------------------------- wanted state
    def apply(self, objects, source=None):
        """Brings the lab to these objects (as manifests.Folder.read gives them). Pods that fail are reported together at the
        end; the others run."""
        with self.locked():
            if source:
                self.data["source"] = os.path.abspath(source)
            wanted, self.objects = manifests.expand(objects, fabric.NODES)
            self._assign_services()
            present = self.data["pods"]
            changed = [key for key in present if key in wanted and present[key]["spec"] != manifests.spec_hash(wanted[key])]
            self._remove(changed)
            gone = [key for key in present if key not in wanted]
            new = [key for key in wanted if key not in present or not present[key].get("process")]
            for key in wanted:
                if key in new:
                    self._place(key, wanted[key])
                present[key]["object"] = wanted[key]
            self.write_state()
            failures = self._add(new)
            for key in gone:
                present[key]["leaving"] = True
            self._publish()
            self._remove(gone)
            if gone:
                self._publish()
            if failures:
                raise LabError("%d of %d pods did not start:\n  %s" % (len(failures), len(new), "\n  ".join(failures)))

    def _assign_services(self):
        """Service addresses: what is asked for, else the next free one; IPv6 when the Service wants both families."""
        services = [o for o in self.objects.values() if o["kind"] == "Service"]
        known = self.data["services"]
        for gone in set(known) - {"%(namespace)s/%(name)s" % s["metadata"] for s in services}:
            del known[gone]
        taken = {a for addresses in known.values() for a in addresses}
        taken |= {a for s in services for a in (s["spec"].get("clusterIPs") or [s["spec"].get("clusterIP")]) if a}
        for service in services:
            spec = service.setdefault("spec", {})
            if spec.get("clusterIP") == "None":
                spec["clusterIPs"] = ["None"]
                continue
            if spec.get("type") == "ExternalName":
                continue
            key = "%(namespace)s/%(name)s" % service["metadata"]
            asked = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else None)
            if not asked:
                families = list(spec.get("ipFamilies") or ["IPv4"])
                if str(spec.get("ipFamilyPolicy", "")) in ("PreferDualStack", "RequireDualStack"):
                    families += [f for f in ("IPv4", "IPv6") if f not in families]
                have = {ipaddress.ip_address(a).version: a for a in known.get(key, [])}
                asked = []
                for family in families:
                    version = 6 if family == "IPv6" else 4
                    address = have.get(version) or self._free_address(version, taken)
                    taken.add(address)
                    asked.append(address)
                spec["ipFamilies"] = families
            known[key] = asked
            spec["clusterIPs"], spec["clusterIP"] = asked, asked[0]

    @staticmethod
    def _free_address(version, taken):
        subnet = ipaddress.ip_network(fabric.SERVICE_SUBNETS[0 if version == 4 else 1])
        for host in subnet.hosts():
            if int(host) & 0xff >= 10 and str(host) not in taken:
                return str(host)
        raise LabError("no service address is left in %s" % subnet)

    def _place(self, key, pod):
        """Scheduler: the asked node, else the one with the fewest pods of the same labels, then the fewest pods."""
        spec = pod["spec"]
        asked = spec.get("nodeName") or (spec.get("nodeSelector") or {}).get("kubernetes.io/hostname")
        if asked and asked not in fabric.NODES:
            raise LabError("pod %s wants node %s; the lab has %s" % (key, asked, ", ".join(fabric.NODES)))
        labels = pod["metadata"].get("labels")
        pods = self.data["pods"]

        def load(node):
            here = [p for k, p in pods.items() if p["node"] == node and k != key]
            return sum((p.get("object") or {}).get("metadata", {}).get("labels") == labels for p in here), len(here)

        number = self.data["serial"] = self.data.get("serial", 0) + 1
        pods[key] = {"uid": str(uuid.uuid4()), "node": asked or min(fabric.NODES, key=load), "ips": [], "process": None,
                     "netns": "%sp%d" % (self.prefix, number), "spec": manifests.spec_hash(pod), "created": _now()}

    # -------------------------------------------------------------- pods
    def _add(self, keys):
        """Starts pods, a few at a time; returns a line per pod that failed."""
        if not keys:
            return []
        self.say("pods: " + ", ".join(k.split("/")[1] for k in keys))
        with ThreadPoolExecutor(PARALLEL_PODS) as pool:
            problems = list(pool.map(self._add_one, keys))
        self.save()
        return ["%s: %s" % (key, problem) for key, problem in zip(keys, problems) if problem]

    def _add_one(self, key):
        try:
            self._add_network(key)
            self._start_app(key)
            return None
        except LabError as problem:
            self._remove_network(key)
            return str(problem)

    def _add_network(self, key):
        record = self.data["pods"][key]
        if record["object"]["spec"].get("hostNetwork"):
            record["netns"], record["ips"] = self.prefix + record["node"], list(fabric.ADDRESS[record["node"]])
            return
        fabric.add_namespace(record["netns"])
        record["ips"] = self.chain(record["node"]).add(self.pod_object(key), netns_path(record["netns"]))

    def chain(self, node):
        folder = os.path.join(self.folder, node)
        configs, extra = [cni.bridge_config(node, os.path.join(folder, "ipam"))], None
        if self.data["mesh"]:
            binary = find(self.data["build"], "weft-cni")
            configs.append(cni.mesh_config(binary, os.path.join(folder, "run"), os.path.join(self.folder, "state")))
            extra = os.path.dirname(binary)
        return cni.Chain(node, self.prefix + node, configs, extra, os.path.join(folder, "cni.log"))

    def _start_app(self, key):
        record = self.data["pods"][key]
        pod = record["object"]
        labels = pod["metadata"].get("labels") or {}
        self._write_hosts(pod["metadata"]["namespace"])
        env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "POD_NAME": pod["metadata"]["name"],
               "POD_NAMESPACE": pod["metadata"]["namespace"], "VERSION": labels.get("version", ""),
               "SERVICE": labels.get("app") or labels.get("app.kubernetes.io/name") or pod["metadata"]["name"]}
        ports = ",".join(str(number) for number in dict(manifests.container_ports(pod)))
        process, ready = Process.start(
            "the application of " + key, self.inside(key, [PYTHON, "-SEs", os.path.join(APPS, "pod_app.py"), ports]),
            os.path.join(self.folder, "pods", key.replace("/", "_") + ".log"), env=env, ready_pipe=True)
        record["process"] = process.to_json()
        os.set_blocking(ready, False)

        def probe():
            try:
                return os.read(ready, 1)
            except BlockingIOError:
                return b""

        try:
            wait_for("%s to listen on %s" % (process.name, ports), probe, APP_LIMIT_S, alive=process.check_alive)
        except LabError:
            stop_all([process])
            record["process"] = None
            raise
        finally:
            os.close(ready)

    def _remove(self, keys):
        if not keys:
            return
        self.say("removing: " + ", ".join(k.split("/")[1] for k in keys))
        records = self.data["pods"]
        stop_all([Process.from_json(records[k]["process"]) for k in keys if records[k].get("process")], 5)
        with ThreadPoolExecutor(PARALLEL_PODS) as pool:
            list(pool.map(self._remove_network, keys))
        for key in keys:
            del records[key]
        self.save()

    def _remove_network(self, key):
        record = self.data["pods"][key]
        if record["netns"] == self.prefix + record["node"]:
            return
        if os.path.exists(netns_path(record["netns"])):
            self.chain(record["node"]).delete(self.pod_object(key), netns_path(record["netns"]))
            fabric.delete_namespace(record["netns"])
        record.update(ips=[], process=None)

    # -------------------------------------------------------------- published state
    def pod_object(self, key):
        """The Pod as the API server would show it."""
        record = self.data["pods"][key]
        pod = json.loads(json.dumps(record["object"]))
        meta = pod["metadata"]
        meta["uid"], meta["creationTimestamp"] = record["uid"], record["created"]
        meta.setdefault("annotations", {})["weft.io/netns"] = netns_path(record["netns"])
        pod["spec"]["nodeName"] = record["node"]
        host = fabric.ADDRESS[record["node"]]
        ready = bool(record.get("process")) and not record.get("leaving")
        status = pod["status"] = {"phase": "Running" if record.get("process") else "Pending", "hostIP": host[0],
                                  "hostIPs": [{"ip": ip} for ip in host],
                                  "conditions": [{"type": "Ready", "status": str(ready)}]}
        if record["ips"]:
            status.update(podIP=record["ips"][0], podIPs=[{"ip": ip} for ip in record["ips"]])
        if record.get("leaving"):
            meta["deletionTimestamp"] = _now()
        return pod

    def write_state(self):
        """The one file the mesh programs read, replaced in one step."""
        items = [json.loads(json.dumps(o)) for o in self.objects.values()]
        for item in items:
            item["metadata"].setdefault("creationTimestamp",
                                        self.data["seen"].setdefault(manifests.key_of(item), _now()))
        items.sort(key=lambda o: (o["kind"] != "Namespace", manifests.key_of(o)))
        items = [{"apiVersion": "v1", "kind": "Node",
                  "metadata": {"name": node, "labels": {"kubernetes.io/hostname": node}},
                  "status": {"addresses": [{"type": "InternalIP", "address": ip} for ip in fabric.ADDRESS[node]]}}
                 for node in fabric.NODES] + items
        items += [self.pod_object(key) for key in sorted(self.data["pods"])]
        text = yaml.dump_all(items, Dumper=_Dumper, sort_keys=False, default_flow_style=False)
        write_file(os.path.join(self.folder, "state", "cluster.yaml"), text)
        self.save()

    def services(self):
        return [o for o in self.objects.values() if o["kind"] == "Service" and o.get("spec")]

    def endpoints(self, service):
        pods = [self.pod_object(k) for k, r in sorted(self.data["pods"].items()) if r.get("process") and not r.get("leaving")]
        return [pod for pod in pods if manifests.selects(service, pod)]

    def _publish(self):
        """Pods, names and service addresses as they are now."""
        self.write_state()
        for namespace in {k.split("/")[0] for k in self.data["pods"]}:
            self._write_hosts(namespace)
        for node in fabric.NODES:
            hide = () if self.data["local_replies"] else fabric.POD_SUBNETS[node]
            kubeproxy.apply(self.prefix + node, kubeproxy.ruleset(self.services(), self.endpoints, hide))

    def _write_hosts(self, namespace):
        """Written in place: running pods have this very file bound over /etc/hosts."""
        path = os.path.join(self.folder, "hosts", namespace)
        text = names.hosts(namespace, self.services(), self.endpoints)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(text)
            handle.truncate()

    # -------------------------------------------------------------- use
    def find_pod(self, word):
        """A pod by NAMESPACE/NAME, by name, or by the beginning of one; the first of several."""
        keys = sorted(self.data["pods"])
        for test in (lambda k: k == word, lambda k: k.split("/")[1] == word, lambda k: k.startswith(word),
                     lambda k: k.split("/")[1].startswith(word)):
            found = [k for k in keys if test(k)]
            if found:
                return found[0]
        raise LabError("no pod is called %s" % word, "pods: " + (", ".join(keys) or "none"))

    def inside(self, key, argv):
        """argv changed to run in a pod: its network, its names; everything else as on this machine."""
        record = self.data["pods"][key]
        hosts = os.path.join(self.folder, "hosts")
        binds = "".join("[ ! -e /etc/%s ] || mount --bind %s /etc/%s; " % (target, os.path.join(hosts, source), target)
                        for source, target in ((key.split("/")[0], "hosts"), ("resolv.conf", "resolv.conf"),
                                               ("nsswitch.conf", "nsswitch.conf")))
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
                binds + 'exec nsenter --net=%s -- "$@"' % netns_path(record["netns"]), "sh"] + list(argv)

    def ask(self, pod, requests, limit_s=None):
        """Runs requests (see tests/apps/pod_client.py) from a pod, one after another; returns their outcomes."""
        limit_s = limit_s or 30 + sum(r.get("limit_s", 10) * min(r.get("count", 1), 30) for r in requests)
        done = run(self.inside(self.find_pod(pod), [PYTHON, "-SEs", os.path.join(APPS, "pod_client.py"), "ask"]),
                   data=json.dumps(requests), limit=limit_s)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def load_from(self, pod, request):
        """Starts continuous requests from a pod; Load.stop() ends them and returns what happened."""
        return Load(subprocess.Popen(
            self.inside(self.find_pod(pod), [PYTHON, "-SEs", os.path.join(APPS, "pod_client.py"), "load"]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True), request)

    def watch(self, folder, stop=lambda: False, on_problem=None):
        """Applies the folder whenever it changes, until stop() says so."""
        reader, stamp = manifests.Folder(folder), None
        while not stop():
            try:
                if reader.stamp() != stamp:
                    stamp = reader.stamp()
                    with self.locked():
                        if not self.exists():
                            return
                        self.apply(reader.read())
                    for name, problem in reader.problems.items():
                        (on_problem or self.say)("%s is left as it was: %s" % (name, problem))
                    self.say("applied " + folder)
            except LabError as problem:
                (on_problem or self.say)(str(problem))
            time.sleep(0.2)  # the pace of looking; nothing waits for a moment in particular


class Load:
    """Continuous requests from one pod."""

    def __init__(self, child, request):
        self.child = child
        child.stdin.write(json.dumps(request) + "\n")
        child.stdin.flush()

    def stop(self, limit_s=30):
        try:
            out, _ = self.child.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.communicate()
            raise LabError("a load did not end within %d s" % limit_s)
        if self.child.returncode:
            raise LabError("a load failed with %d" % self.child.returncode)
        return json.loads(out)


def _now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
