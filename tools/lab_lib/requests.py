"""The requests of a table (YAML) and whether their answers are as it says; see tests/scenarios/shop-requests.yaml."""
import os

import yaml

from .lab import REPOSITORY

SHOP_TABLE = os.path.join(REPOSITORY, "tests", "scenarios", "shop-requests.yaml")


def load(path=SHOP_TABLE):
    with open(path) as handle:
        return [dict(case, variant=group["variant"]) for group in yaml.safe_load(handle) for case in group["cases"]]


def ask(lab, case):
    """All outcomes of a case."""
    headers = dict(case.get("headers") or {})
    if case.get("host"):
        headers["Host"] = case["host"]
    request = {"url": "http://%s%s" % (case["to"], case["path"]), "method": case["method"], "headers": headers,
               "count": case.get("count", 1), "id": case["id"]}
    return lab.ask(case["from"], [request])


def expected(case, outcomes):
    """Whether the outcomes, and the shares of versions where asked for, are those of the table."""
    if len(outcomes) != case.get("count", 1) or any(got["outcome"] != case["expect"] for got in outcomes):
        return False
    versions = [got["body"]["version"] for got in outcomes if got.get("body")]
    return all(low <= versions.count(version) / len(versions) <= high
               for version, (low, high) in (case.get("share") or {}).items())
