"""What is wanted: reads a folder of Kubernetes YAML and expands workload kinds to pods, as the controllers would."""
import copy
import hashlib
import json
import os

import yaml

from .shell import LabError

CLUSTER_SCOPED = {"Namespace", "Node", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "GatewayClass",
                  "PersistentVolume", "StorageClass", "PriorityClass"}
WORKLOAD_KINDS = {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"}
DEFAULT_PORT = 8080
MAX_PODS = 200  # a node's pod subnet has 254 addresses


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):
    """YAML as Kubernetes reads it: dates stay text."""


_Loader.yaml_implicit_resolvers = {
    key: [(tag, regexp) for tag, regexp in pairs if tag != "tag:yaml.org,2002:timestamp"]
    for key, pairs in _Loader.yaml_implicit_resolvers.items()}


def parse(text, name):
    """All objects of one file, List kinds opened. Raises LabError naming file and place."""
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as problem:
        raise LabError("%s: not valid YAML: %s" % (name, " ".join(str(problem).split())))
    found = []
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict) or "kind" not in document:
            raise LabError("%s: a document is not a Kubernetes object (no 'kind')" % name)
        items = document.get("items") or [] if document["kind"].endswith("List") else [document]
        for item in items:
            meta = item.get("metadata")
            if not isinstance(meta, dict) or not meta.get("name"):
                raise LabError("%s: a %s has no metadata.name" % (name, item.get("kind")))
            found.append(normalise(item))
    return found


def normalise(item):
    """A copy in which what the lab relies on is there: namespace, text labels and annotations."""
    item = copy.deepcopy(item)
    meta = item["metadata"]
    if item["kind"] not in CLUSTER_SCOPED:
        meta.setdefault("namespace", "default")
    for key in ("labels", "annotations"):
        if meta.get(key) is None:
            meta.pop(key, None)
        else:
            meta[key] = {str(k): _text(v) for k, v in meta[key].items()}
    return item


def _text(value):
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


class Folder:
    """A user's folder. A file that stops being readable keeps its last good content, and is reported."""

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.good = {}      # file name -> (stamp, objects)
        self.problems = {}  # file name -> text

    def stamp(self):
        """Changes when any file of the folder does."""
        return tuple(sorted((name, info.st_mtime_ns, info.st_size, info.st_ino) for name, info in self._files()))

    def _files(self):
        try:
            names = sorted(os.listdir(self.path))
        except OSError as problem:
            raise LabError("cannot read the folder %s: %s" % (self.path, problem.strerror))
        for name in names:
            if name.endswith((".yaml", ".yml", ".json")) and not name.startswith("."):
                try:
                    yield name, os.stat(os.path.join(self.path, name))
                except FileNotFoundError:
                    pass

    def read(self):
        """Every object, later files and documents replacing earlier ones of the same name."""
        present = dict(self._files())
        self.good = {name: value for name, value in self.good.items() if name in present}
        self.problems = {}
        for name, info in present.items():
            stamp = (info.st_mtime_ns, info.st_size, info.st_ino)
            if name in self.good and self.good[name][0] == stamp:
                continue
            try:
                with open(os.path.join(self.path, name)) as handle:
                    self.good[name] = (stamp, parse(handle.read(), name))
            except (OSError, LabError, UnicodeDecodeError) as problem:
                self.problems[name] = str(problem)
        objects = {}
        for name in sorted(self.good):
            for item in self.good[name][1]:
                objects[key_of(item)] = item
        return objects


def key_of(item):
    group = str(item.get("apiVersion", "v1")).rpartition("/")[0]
    return "%s/%s/%s/%s" % (group, item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])


# ------------------------------------------------------------------ controllers
def short_hash(value, size=10):
    """A name part in the letters Kubernetes uses: no vowels, nothing that reads as a word."""
    letters = "bcdfghjklmnpqrstvwxz2456789"
    digest = hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).digest()
    return "".join(letters[b % len(letters)] for b in digest[:size])


def expand(objects, nodes):
    """Splits objects into (pods, the rest). A pod is a Kubernetes Pod object without uid, node and addresses."""
    pods, rest = {}, {}
    for item in objects.values():
        if item["kind"] == "Pod":
            made = [copy.deepcopy(item)]
        elif item["kind"] in WORKLOAD_KINDS:
            made = _controller(item, nodes)
        else:
            rest[key_of(item)] = item
            continue
        for pod in made:
            _default_pod(pod)
            pods["%s/%s" % (pod["metadata"]["namespace"], pod["metadata"]["name"])] = pod
    if len(pods) > MAX_PODS:
        raise LabError("%d pods are wanted, the lab's two nodes take %d" % (len(pods), MAX_PODS), "lower some replicas")
    for pod in pods.values():
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": pod["metadata"]["namespace"]}}
        rest.setdefault(key_of(namespace), namespace)
    for item in rest.values():
        if item["kind"] == "Namespace":
            item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = item["metadata"]["name"]
    return pods, rest


def _controller(item, nodes):
    kind, meta, spec = item["kind"], item["metadata"], item.get("spec") or {}
    template = spec.get("template")
    if not isinstance(template, dict):
        raise LabError("%s %s/%s has no spec.template" % (kind, meta["namespace"], meta["name"]))
    template_hash = short_hash(template)
    owner = {"apiVersion": item.get("apiVersion", "apps/v1"), "kind": kind, "name": meta["name"], "controller": True}
    extra = {}
    if kind == "Deployment":
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "%s-%s" % (meta["name"], template_hash),
                 "controller": True}
        extra = {"pod-template-hash": template_hash}
    owner["uid"] = stable_uid(kind, meta["namespace"], owner["name"])
    if kind == "StatefulSet":
        names = ["%s-%d" % (meta["name"], i) for i in range(int(spec.get("replicas", 1)))]
    elif kind == "DaemonSet":
        names = ["%s-%s" % (meta["name"], short_hash([template_hash, node], 5)) for node in nodes]
    else:
        count = int(spec.get("completions" if kind == "Job" else "replicas", 1) or 0)
        names = ["%s-%s" % (owner["name"], short_hash([template_hash, i], 5)) for i in range(count)]
    made = []
    for index, name in enumerate(names):
        pod_meta = copy.deepcopy(template.get("metadata") or {})
        pod_meta.update(name=name, namespace=meta["namespace"], ownerReferences=[owner])
        pod = normalise({"apiVersion": "v1", "kind": "Pod", "metadata": pod_meta,
                         "spec": copy.deepcopy(template.get("spec") or {})})
        pod["metadata"].setdefault("labels", {}).update(extra)
        if kind == "DaemonSet":
            pod["spec"]["nodeName"] = nodes[index]
        if kind == "StatefulSet":
            pod["spec"]["hostname"] = name
            pod["spec"]["subdomain"] = spec.get("serviceName", "")
            pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = name
            pod["metadata"]["labels"]["controller-revision-hash"] = template_hash
        made.append(pod)
    return made


def _default_pod(pod):
    spec = pod.setdefault("spec", {})
    spec.setdefault("serviceAccountName", spec.get("serviceAccount") or "default")
    spec.setdefault("containers", [{"name": "app"}])


def spec_hash(pod):
    """What cannot change in a running pod: another value means another pod of the same name."""
    fixed = {k: v for k, v in pod["spec"].items() if k != "nodeName"}
    return short_hash(fixed, 12)


def stable_uid(*parts):
    digest = hashlib.sha256("/".join(parts).encode()).hexdigest()
    return "%s-%s-4%s-8%s-%s" % (digest[:8], digest[8:12], digest[12:15], digest[15:18], digest[18:30])


# ------------------------------------------------------------------ services
def container_ports(pod):
    """[(number, name)] of the pod's containers; [8080] when it names none."""
    found = []
    for container in pod["spec"].get("containers") or []:
        for port in container.get("ports") or []:
            if str(port.get("protocol", "TCP")) == "TCP":
                found.append((int(port["containerPort"]), port.get("name")))
    return found or [(DEFAULT_PORT, None)]


def selects(service, pod):
    selector = service["spec"].get("selector")
    labels = pod["metadata"].get("labels") or {}
    return (bool(selector) and service["metadata"]["namespace"] == pod["metadata"]["namespace"] and
            all(labels.get(str(k)) == _text(v) for k, v in selector.items()))


def target_port(port, pod):
    """The number on which this pod serves a service port; None when the pod does not have the named port."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int) or str(target).isdigit():
        return int(target)
    return next((number for number, name in container_ports(pod) if name == target), None)
