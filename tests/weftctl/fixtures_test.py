#!/usr/bin/python3
"""The translator and `weftctl` on published cases: policies, workloads, services and rules, case by case.

    fixtures_test.py PATH/TO/weftctl PATH/TO/mesh_objects     exit status 77 where the cases are not at hand

The cases are ../shared beside the tree, or the folder that WEFT_SHARED names. Every case passes or stands in LISTED with the
reason; an entry of which every case passes is an error too."""
import json
import os
import subprocess
import sys

import fixtures_objects as nodes
import fixtures_policies as policies
from fixtures_run import FIXTURES, PROGRAMS, Outcomes, ambient, analyze, documents, explain, load, mesh_config, pod, thing

SKIPPED = 77


def validation(outcomes):
    """Valid objects are read whole; of invalid ones a finding names the field."""
    reading = ("FieldIgnored", "InvalidValue", "UnknownConditionKey", "NotAnObject")
    field = {"Unsupported value": "mode", "type conversion": "portLevelMtls", "portLevelMtls": "portLevelMtls", "port must": "port",
             "name in body": "name", "customMetric": "customMetric", "value must": "value", "spec: Required": "spec",
             "Address is": "address", "UDS": "address", "spec.ports": "ports"}
    for name in sorted(os.listdir(os.path.join(FIXTURES, "validation"))):
        for index, document in enumerate(documents("validation", name)):
            error = document.pop("_err", None)
            found = [c["reason"] + ": " + c["message"] for _, _, _, c in analyze([document]) if c["reason"] in reading]
            case = "validation/%s/%d" % (name.removesuffix(".yaml"), index)
            if error is None:
                outcomes.add(case, ("otherwise", str(found)) if found else None)
                continue
            word = next(value for key, value in field.items() if key in error)
            outcomes.add(case, None if any(word.lower() in text.lower() for text in found) else ("not told", str(found)))


# The published finding -> ours; "" means that nothing of ours is of its kind.
FINDINGS = {"NoMatchingWorkloadsFound": "NoMatchingWorkloads", "ReferencedResourceNotFound": "ReferenceNotFound",
            "ServiceEntryAddressesRequired": "AddressMissing", "ConflictingServiceEntryProtocol": "ConflictingProtocol"}
# Cases without expected findings: what must not be said then.
SILENT = {"missing Addresses and Protocol in Service Entry with ISTIO_META_DNS_AUTO_ALLOCATE enabled": "AddressMissing",
          "ServiceEntry Addresses Allocated": "AddressMissing", "serviceWithNoSelector": "NoMatchingWorkloads",
          "unnamedPortInSystemNamespace": "Info", "blockedCIDRsConfigured": "InvalidValue",
          "DestinationRuleSubsetsWithTopologyLabels": "NoMatchingWorkloads", "EnvoyFilterUsesAbsoluteOperation": "InvalidValue",
          "gatewayCustomIngressGatewayTranslation": "InvalidValue", "conflicting gateways detect: no port": "ConflictingProtocol",
          "gateways with different port are non-conflicting": "ConflictingProtocol"}


def analysis(outcomes):
    for told in load("analysis", "cases.json")["cases"]:
        objects = [document for path in told["inputs"] for document in documents("analysis", path)]
        if told["mesh_config"]:
            objects.append(mesh_config(documents("analysis", told["mesh_config"])[0]))
        found = {(kind, name, c["reason"]) for kind, _, name, c in analyze([o for o in objects if "kind" in o])}
        case = "analysis/" + told["name"]
        if not told["expected"]:
            said = [entry for entry in found if entry[2] == SILENT[told["name"]]]
            outcomes.add(case, ("otherwise", str(said)) if said else None)
            continue
        for want in sorted({(e["object"], e["message"]) for e in told["expected"]}):
            kind, _, name = want[0].partition(" ")
            reason = FINDINGS.get(want[1])
            there = (kind, name.split("/")[-1], reason) in found
            outcomes.add("%s/%s/%s" % (case, want[1], want[0]), None if there else ("not told", want[0]))


def identities(outcomes):
    objects = ambient("x") + [pod("x", "x", {}, ["10.0.0.1"])]
    for told in load("identities", "parse.json")["cases"]:
        answer = explain(objects, [{"source": {"principal": told["text"]}, "destination": {"pod": "x/x", "port": 80}}])[0]
        difference = None
        if ("error" in answer) != (told["identity"] is None):
            difference = ("otherwise", str(answer))
        elif told["identity"]:
            # Only the very identity passes.
            want = "%(trust_domain)s/ns/%(namespace)s/sa/%(service_account)s" % told["identity"]
            policy = thing("AuthorizationPolicy", "p", "x", "security.istio.io/v1",
                           spec={"rules": [{"from": [{"source": {"principals": [want]}}]}]})
            again = explain(objects + [policy], [{"source": {"principal": text}, "destination": {"pod": "x/x", "port": 80}}
                                                 for text in (told["text"], told["text"] + "x")])
            if [a["decision"] for a in again] != ["allow", "deny"]:
                difference = ("otherwise", str(again))
        outcomes.add("identities/" + told["text"], difference)


def local_config(outcomes):
    path = os.path.join(FIXTURES, "node-local-config", "localhost.yaml")
    done = subprocess.run([PROGRAMS["mesh_objects"], "--local", path], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    mesh, written = json.loads(done.stdout), documents("node-local-config", "localhost.yaml")[0]
    same = sorted(w["uid"] for w in mesh["workloads"]) == sorted(w["uid"] for w in written["workloads"])
    for want in written["services"]:
        got = next(s for s in mesh["services"] if s["hostname"] == want["hostname"])
        same &= got["vips"] == want["vips"] and {int(p): t for p, t in got["ports"].items()} == want["ports"]
        same &= len(got["endpoints"]) == 2
    same &= mesh["policies"][0]["rules"] == written["policies"][0]["rules"]
    outcomes.add("node-local-config/localhost", None if same else ("otherwise", done.stdout))


def traffic_routing(outcomes):
    for index, told in enumerate(load("traffic-routing", "cases.json")["cases"]):
        outcomes.add("traffic-routing/%s/%d" % (told["group"], index), ("no connection to ask about", str(told["name"])))


def main():
    PROGRAMS.update(zip(("weftctl", "mesh_objects"), map(os.path.abspath, sys.argv[1:3])))
    if not os.path.isdir(FIXTURES):
        print("the cases are not here")
        return SKIPPED
    outcomes = Outcomes()
    for part in (policies.ambient_l4_decisions, policies.match_table, policies.status_messages, policies.policy_goldens,
                 policies.authz_realistic, policies.authz_policy_decisions, policies.integration, policies.peer_authentication,
                 nodes.canaries, nodes.unserved, validation, analysis, identities, local_config, traffic_routing):
        part(outcomes)
    for name, field in (("PodWorkloads", "pod"), ("WorkloadEntryWorkloads", "we"), ("ServiceEntryWorkloads", "se"),
                        ("EndpointSliceWorkloads", "slice")):
        nodes.workloads(outcomes, name, field)
    for name, field in (("ServiceServices", "svc"), ("ServiceEntryServices", "se")):
        nodes.services(outcomes, name, field)
    for name, field in (("ServiceConditions", "svc"), ("WorkloadEntryConditions", "we")):
        nodes.waypoint_conditions(outcomes, name, field)
    return outcomes.finish()


if __name__ == "__main__":
    sys.exit(main())
