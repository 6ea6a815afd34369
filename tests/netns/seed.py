"""The user's own manifests, read where they lie: ../shared beside the tree, or the folder that WEFT_SHARED names. Nothing of
them is in the tree; suites that need them say `skipped` without them."""
import os
import re

import yaml

from harness import REPOSITORY, LabError, manifests

FOLDER = os.path.join(os.environ.get("WEFT_SHARED") or os.path.join(os.path.dirname(REPOSITORY), "shared"), "seed-manifests")


def unavailable():
    return None if os.path.isdir(FOLDER) else "the user's manifests are not here (%s)" % FOLDER


def text_of(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as handle:
        return handle.read()


def apply(name, namespace="default"):
    """What `kubectl apply -n NAMESPACE` makes of a file: its objects by key. Documents that are no objects are left out, as
    texts_in() has them; kubectl would refuse the file for them, the mesh must not."""
    objects = {}
    for document in _documents(name):
        if isinstance(document, dict):
            document["metadata"].setdefault("namespace", namespace)
            item = manifests.normalise(document)
            objects[manifests.key_of(item)] = item
    return objects


def texts_in(name):
    return [document for document in _documents(name) if isinstance(document, str)]


def _documents(name):
    parts = re.split(r"^---\s*$", text_of(name), flags=re.MULTILINE)
    return [document for document in map(yaml.safe_load, parts) if document is not None]


def files(names, namespace="default"):
    objects = {}
    for name in names:
        objects.update(apply(name, namespace))
    return objects


def rows(variants):
    """The rows of the shop's table that belong to one of the variants, with their variant."""
    table = yaml.safe_load(text_of("e-commerce/requests.yaml"))
    return [dict(row, variant=variant) for group in table for variant in group["variant"] if variant in variants
            for row in group["cases"]]


def set_mode(mesh, name, namespace, mode):
    """What `kubectl patch peerauthentication` does."""
    def change(objects):
        mesh.find("PeerAuthentication", name, namespace, objects)["spec"]["mtls"]["mode"] = mode

    mesh.apply(change=change)


def remove(mesh, objects):
    """Takes these objects out of the mesh again."""
    missing = set(objects) - set(mesh.objects)
    if missing:
        raise LabError("not in the mesh: " + ", ".join(sorted(missing)))
    mesh.apply(change=lambda all_objects: [all_objects.pop(key) for key in objects])


def add(mesh, objects):
    mesh.apply(change=lambda all_objects: all_objects.update(objects))
