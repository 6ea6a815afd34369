#!/usr/bin/python3
"""What `weftctl analyze` says about the guide's examples, row by row of their table of oddities.

    oddities_test.py PATH/TO/weftctl     exit status 77 where the examples are not at hand

The examples are ../shared beside the tree, or the folder that WEFT_SHARED names."""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import yaml

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.environ.get("WEFT_SHARED") or os.path.join(os.path.dirname(TREE), "shared")
SEEDS = os.path.join(SHARED, "seed-manifests")
SKIPPED = 77
WEFTCTL = None

# Rows that analysis of a file cannot show, with the reason.
ELSEWHERE = {
    "O-02-1-1": "words of an istioctl command, which makes no object",
    "O-02-1-3": "words of an istioctl command, which makes no object",
    "O-10-2-2": "needs an HTTP proxy that fetches modules; NoEffectInAmbient says that none is fetched",
}

# What a row speaks of where its file has it only in part: the text made into what is analysed.
SUPPOSED = {
    # What the command writes.
    "O-02-1-2": lambda text: "{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {istio-injection: enabled}}}",
    # The row is about tokens that are none, and all of the example's are.
    "O-03-4-2": lambda text: text.replace("retryOn: ", "retryOn: no-such-condition,"),
    # A waypoint in the path.
    "O-06-3-6": lambda text: text + """
---
{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {istio.io/use-waypoint: waypoint}}}
""",
}

# A word of the message, where several findings share object and reason.
WORDS = {
    "O-02-2-3": "namespace default", "O-02-2-4": "bookinfo-tls",
    "O-03-2-1": "green", "O-03-3-1": "tcpKeepalive", "O-03-3-2": "consecutiveGatewayErrors", "O-03-3-3": "minHealthPercent",
    "O-03-5-1": "v1", "O-04-1-2": "9000", "O-04-2-1": "alternatives", "O-04-2-3": "other ALLOW policies",
    "O-05-1-1": "names no provider", "O-05-1-2": "no CEL expression", "O-05-1-3": "REQUEST_COUNT",
    "O-05-1-4": "x-request-id", "O-05-2-2": "opentelemetry", "O-05-2-3": "4317", "O-05-2-4": "jaeger-collector",
    "O-05-2-5": "used by no Telemetry", "O-05-2-6": "proxyStatsMatcher", "O-05-3-1": "NETWORK_FILTER",
    "O-05-3-2": "SIDECAR_INBOUND", "O-06-2-2": "maxEjectionPercent", "O-06-3-1": "alternatives", "O-06-3-2": "verified token",
    "O-07-1-2": "isRetryable", "O-08-3-1": "discoveryRefreshDelay", "O-08-3-2": "concurrency", "O-08-4-2": "external-api.com",
    "O-10-1-2": "MESH_EXTERNAL", "O-10-1-3": "spec.hosts",
}

# Objects of rows whose text does not name them as Kind/name.
OBJECTS = {
    "O-03-1-4": ["VirtualService/reviews-canary", "DestinationRule/reviews-destination"],
    "O-04-2-3": ["AuthorizationPolicy/httpbin-viewer", "AuthorizationPolicy/jwt-policy"],
    "O-04-2-4": ["AuthorizationPolicy/httpbin-viewer", "AuthorizationPolicy/jwt-policy"],
    "O-05-1-1": ["Telemetry/default", "Telemetry/custom-metrics"],
    "O-05-2-5": ["ConfigMap/istio-tracing"],
    "O-05-3-5": [],
    "O-06-1-1": ["Service/frontend", "Service/catalog"],
    "O-06-3-1": ["AuthorizationPolicy/frontend-policy", "AuthorizationPolicy/catalog-policy", "AuthorizationPolicy/orders-policy"],
    "O-10-3-1": ["/"],
}

# Reasons by which a kind that only HTTP proxies act on says that it does nothing yet. True of every such object, and no row of
# a single file.
HONEST = {
    "NoWaypoint": {"VirtualService", "DestinationRule", "Telemetry", "EnvoyFilter", "WasmPlugin", "RequestAuthentication"},
    "NoMatchingWorkloads": {"Gateway", "VirtualService"},
    "UnsupportedKind": {"ServiceProfile", "TrafficSplit", "ServiceDefaults", "ServiceSplitter", "ServiceResolver"},
    "UnsupportedAtL4": {"AuthorizationPolicy"},
}


def analyze(*paths):
    """(exit status, what was printed as JSON)"""
    done = subprocess.run([WEFTCTL, "analyze", "-o", "json", *paths], stdout=subprocess.PIPE, timeout=60)
    return done.returncode, json.loads(done.stdout)


def findings(entries):
    """{(kind/name, reason, level): text}, without what says that all is well."""
    out = {}
    for entry in entries:
        for condition in entry["conditions"]:
            if condition["reason"] != "Accepted" and condition["type"] != "ZtunnelAccepted":
                key = (entry["kind"] + "/" + entry["name"], condition["reason"], condition["level"])
                out[key] = out.get(key, "") + condition["message"]
    return out


def objects_of(row, entries):
    if row["id"] in OBJECTS:
        return OBJECTS[row["id"]]
    kind, _, names = row["object"].partition("/")
    if names == "*":
        return [kind + "/" + e["name"] for e in entries if e["kind"] == kind]
    return [kind + "/" + name for name in re.split(r", | \+ ", names)]


def entries_of(row):
    path = os.path.join(SEEDS, row["file"])
    if row["id"] not in SUPPOSED:
        return analyze(path)[1]
    with open(path, encoding="utf-8") as file, tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as copy:
        copy.write(SUPPOSED[row["id"]](file.read()))
        copy.flush()
        return analyze(copy.name)[1]


def reasons_of(row):
    return re.split(r" or | / ", row["reason"] or "")


def level_of(row):
    return (row["level"] or "").split(" ")[0]


class Rows(unittest.TestCase):
    """One test for each row with something to report."""


class Files(unittest.TestCase):
    """One test for each file."""


def is_file(name):
    return re.match(r"\d\d-\d.*\.yaml$", name) is not None


def add_row(row):
    def test(self):
        entries = entries_of(row)
        found = findings(entries)
        # A row about "Kind/*" holds for those it is true of: at least one.
        wanted, hits = objects_of(row, entries), []
        for name in wanted:
            texts = [found.get((name, reason, level_of(row))) for reason in reasons_of(row)]
            if any(text is not None and WORDS.get(row["id"], "") in text for text in texts):
                hits.append(name)
        if row["object"].endswith("/*"):
            self.assertTrue(hits, found)
        else:
            self.assertEqual(hits, wanted, found)

    setattr(Rows, "test_" + row["id"], test)


def add_file(name, rows):
    def test(self):
        status, entries = analyze(os.path.join(SEEDS, name))
        self.assertIn(status, (0, 1), "no example is refused")
        for entry in entries:
            if entry["kind"]:
                self.assertEqual((entry["conditions"][0]["type"], entry["conditions"][0]["status"]), ("Accepted", "True"), entry)
        named = {(thing, reason, level_of(row)) for row in rows for thing in objects_of(row, entries) for reason in reasons_of(row)}
        false = [key for key in findings(entries) if key not in named and key[0].split("/")[0] not in HONEST.get(key[1], ())]
        self.assertLessEqual(len(false), 1, false)

    setattr(Files, "test_" + name, test)


class Together(unittest.TestCase):
    def test_the_shop_is_read_whole(self):
        status, entries = analyze(os.path.join(SEEDS, "e-commerce"))
        self.assertIn(status, (0, 1))
        self.assertGreater(len(entries), 20)

    def test_every_row_that_reports_something_is_tested_or_explained(self):
        tested = {name[5:] for name in dir(Rows) if name.startswith("test_O-")}
        rows = {row["id"] for row in load() if row["reason"]}
        self.assertEqual(rows - tested, set(ELSEWHERE) & rows)
        self.assertFalse(tested & set(ELSEWHERE))

    def test_colour_and_words_are_for_people(self):
        done = subprocess.run([WEFTCTL, "analyze", SEEDS], stdout=subprocess.PIPE, text=True, timeout=60)
        self.assertNotIn("\x1b", done.stdout)
        self.assertRegex(done.stdout, r"\n\d+ objects in \d+ files: \d+ errors?, \d+ warnings?, \d+ remarks?\n$")


def load():
    with open(os.path.join(SEEDS, "oddities.yaml"), encoding="utf-8") as table:
        return yaml.safe_load(table)


def main():
    global WEFTCTL
    WEFTCTL = os.path.abspath(sys.argv.pop(1))
    if not os.path.isdir(SEEDS):
        print("the examples are not here")
        return SKIPPED
    rows = load()
    for row in rows:
        if row["reason"] and row["id"] not in ELSEWHERE:
            add_row(row)
    for name in sorted(filter(is_file, os.listdir(SEEDS))):
        add_file(name, [row for row in rows if row["file"] == name and row["reason"]])
    unittest.main()


if __name__ == "__main__":
    sys.exit(main())
