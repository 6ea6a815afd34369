"""What every kind of published case needs: the files, the programs, and the count of how cases came out."""
import fnmatch
import json
import os
import subprocess
import tempfile

import yaml

from fixtures_listed import LISTED, LOOSER, STRICTER

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.environ.get("WEFT_SHARED") or os.path.join(os.path.dirname(TREE), "shared")
FIXTURES = os.path.join(SHARED, "fixtures")
PROGRAMS = {}  # "weftctl", "mesh_objects": paths


class Outcomes:
    """Counts, and holds the list against what happened."""

    def __init__(self):
        self.passed, self.listed, self.failures = {}, {}, []
        self.used = set()

    def entry_of(self, case, kind):
        """Patterns are literal but for their stars."""
        return next((entry for entry in LISTED
                     if entry[1] == kind and fnmatch.fnmatchcase(case, entry[0].replace("[", "[[]"))), None)

    def add(self, case, difference):
        """`difference`: None when the case came out as published, else (kind, text)."""
        folder = case.split("/")[0]
        if difference is None:
            self.passed[folder] = self.passed.get(folder, 0) + 1
            return
        entry = self.entry_of(case, difference[0])
        if entry:
            self.used.add(entry)
            self.listed[folder] = self.listed.get(folder, 0) + 1
        else:
            self.failures.append("%s: %s: %s" % (case, *difference))

    def finish(self):
        for entry in LISTED:
            if entry not in self.used:
                self.failures.append("%s: stands in the list, and no case of it came out otherwise" % entry[0])
        for failure in self.failures[:200]:
            print(failure)
        for folder in sorted(set(self.passed) | set(self.listed)):
            print("%-26s %5d passed %5d listed with a reason" % (folder, self.passed.get(folder, 0), self.listed.get(folder, 0)))
        print("%d passed, %d listed with a reason, %d failed" % (sum(self.passed.values()), sum(self.listed.values()),
                                                                 len(self.failures)))
        return 1 if self.failures else 0


def load(*path):
    with open(os.path.join(FIXTURES, *path), encoding="utf-8") as file:
        return json.load(file)


def documents(*path):
    with open(os.path.join(FIXTURES, *path), encoding="utf-8") as file:
        return [document for document in yaml.safe_load_all(file) if document]


def run(words, objects, stdin=None):
    """Standard output of a program that is given these objects as one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "mesh.yaml")
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump_all(objects, file)
        done = subprocess.run([*words, path], input=stdin, stdout=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, done.stdout


def explain(objects, requests):
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    status, out = run([PROGRAMS["weftctl"], "explain", "--manifests"], objects, lines)
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and len(answers) == len(requests), (status, out[-500:])
    return answers


def analyze(objects):
    """[(kind, namespace, name, condition)]"""
    status, out = run([PROGRAMS["weftctl"], "analyze", "-o", "json"], objects)
    assert status in (0, 1), status
    return [(e["kind"], e["namespace"], e["name"], c) for e in json.loads(out) for c in e["conditions"]]


def mesh_of(objects):
    status, out = run([PROGRAMS["mesh_objects"], "--cluster", "cluster0", "--network", "testnetwork", "--domain", "domain.suffix"], objects)
    assert status == 0, out
    return json.loads(out)


def thing(kind, name, namespace=None, group="v1", **more):
    meta = {"name": name, **({"namespace": namespace} if namespace else {}), **more.pop("metadata", {})}
    return {"apiVersion": group, "kind": kind, "metadata": meta, **more}


def ambient(*names):
    return [thing("Namespace", name, metadata={"labels": {"istio.io/dataplane-mode": "ambient"}}) for name in names]


def pod(name, namespace, labels, ips, account="default"):
    return thing("Pod", name, namespace, metadata={"labels": labels}, spec={"serviceAccountName": account},
                 status={"phase": "Running", "podIPs": [{"ip": ip} for ip in ips]})


def mesh_config(settings):
    return thing("ConfigMap", "istio", "istio-system", data={"mesh": yaml.safe_dump(settings)})


def decision(answer, want):
    """What Outcomes.add takes of an answer of explain."""
    if "error" in answer:
        return ("no identity" if "source.principal" in answer["error"] else "error", answer["error"])
    if answer["decision"] == want:
        return None
    return (STRICTER if want == "allow" else LOOSER, answer["reason"])
