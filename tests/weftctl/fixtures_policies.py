"""Published cases of policies: what they decide, and what they become on the way to a node."""
import base64
import json
import os
import re

import yaml

from fixtures_run import FIXTURES, ambient, analyze, decision, documents, explain, load, mesh_config, mesh_of, pod, thing


def connection_of(told, destination):
    return {"source": {"principal": told.get("principal"), "ip": told["source_ip"]},
            "destination": {"pod": destination, "ip": told["destination_ip"], "port": told["destination_port"]}}


def decide(outcomes, case, objects, workload, cases, told, wanted):
    """`workload`: (namespace, labels) of the pod that all connections go to."""
    namespace, labels = workload
    addresses = sorted({entry[told]["destination_ip"] for entry in cases})
    target = pod("target", namespace, labels, addresses)
    answers = explain(objects + ambient(namespace) + [target],
                      [connection_of(entry[told], namespace + "/target") for entry in cases])
    for index, (entry, answer) in enumerate(zip(cases, answers)):
        outcomes.add("%s/%d" % (case, index), decision(answer, entry[wanted]))


def selected(objects):
    """The labels that all selectors of these objects find."""
    labels = {}
    for item in objects:
        labels.update(((item.get("spec") or {}).get("selector") or {}).get("matchLabels") or {})
    return labels


def authz_realistic(outcomes):
    for name in sorted(os.listdir(os.path.join(FIXTURES, "authz-realistic"))):
        base, found, _ = name.partition(".decisions.json")
        if found:
            objects = documents("authz-realistic", base + ".policy.yaml")
            decide(outcomes, "authz-realistic/" + base, objects, (objects[0]["metadata"]["namespace"], selected(objects)),
                   load("authz-realistic", name)["cases"], "request", "decision_l4")


def authz_policy_decisions(outcomes):
    for name in sorted(os.listdir(os.path.join(FIXTURES, "authz-policy-decisions"))):
        told = load("authz-policy-decisions", name, "decisions.json")
        objects = documents("authz-policy-decisions", name, "policy.yaml")
        objects.append(mesh_config({"trustDomain": told["trust_domain"], "trustDomainAliases": told["trust_domain_aliases"]}))
        workload = (told["workload"]["namespace"], told["workload"]["labels"])
        decide(outcomes, "authz-policy-decisions/" + name, objects, workload, told["cases"], "request", "decision")


def ambient_l4_decisions(outcomes):
    folder = "ambient-l4-policies"
    for name in sorted(os.listdir(os.path.join(FIXTURES, folder))):
        base, found, _ = name.partition(".decisions.json")
        if not found:
            continue
        objects = documents(folder, base + "-in.yaml")
        namespace = objects[-1]["metadata"].setdefault("namespace", "default")
        decide(outcomes, "%s/%s" % (folder, base), objects, (namespace, selected(objects)), load(folder, name)["cases"],
               "connection", "decision_if_only_policy")


def match_table(outcomes):
    """Each match as a DENY rule: the connection is refused when it matches."""
    table = load("ambient-l4-policies", "match-table.json")
    words = {"namespaces": ("from", "namespaces"), "principals": ("from", "principals"), "source_ips": ("from", "ipBlocks"),
             "service_accounts": ("from", "serviceAccounts"), "destination_ports": ("to", "ports"),
             "destination_ips": ("when", "destination.ip")}

    def value(entry):
        if isinstance(entry, dict) and "serviceAccount" in entry:
            return "%(namespace)s/%(serviceAccount)s" % entry
        return entry["exact"] if isinstance(entry, dict) else str(entry)

    def rule(match):
        out = {}
        for key, values in match.items():
            bare = key.removeprefix("not_")
            part, field = words[bare]
            negated = "not" + field[0].upper() + field[1:]
            texts = [value(entry) for entry in values]
            if part == "when":
                out["when"] = [{"key": field, "notValues" if bare != key else "values": texts}]
            else:
                wrapper = {"from": "source", "to": "operation"}[part]
                out[part] = [{wrapper: {negated if bare != key else field: texts}}]
        return out

    def matches(rules):
        policy = thing("AuthorizationPolicy", "p", "target", "security.istio.io/v1", spec={"action": "DENY", "rules": rules})
        requests = []
        for told in table["connections"].values():
            ip, port = told["destination"].rsplit(":", 1)
            requests.append(connection_of({"principal": told["principal"], "source_ip": told["source"].rsplit(":", 1)[0],
                                           "destination_ip": ip, "destination_port": int(port)}, "target/target"))
        target = pod("target", "target", {}, ["127.0.0.2", "127.0.0.4"])
        answers = explain(ambient("target") + [policy, target], requests)
        return dict(zip(table["connections"], (answer["decision"] == "deny" for answer in answers)))

    for row in table["single_attribute"]:
        got = matches([rule(row["match"])])
        case = "ambient-l4-policies/match-table/" + next(iter(row["match"]))
        outcomes.add(case, None if got == row["matches"] else ("otherwise", str(got)))
    # A match without attributes and a clause without matches.
    for name, rules, want in (("empty-match", [{"to": [{"operation": {}}]}], False), ("empty-rule", [{}], True)):
        got = set(matches(rules).values())
        outcomes.add("ambient-l4-policies/match-table/" + name, None if got == {want} else ("otherwise", str(got)))


def status_messages(outcomes):
    for told in load("ambient-l4-policies", "status-messages.json")["cases"]:
        want = told["expect_ztunnel_condition"]
        got = [c for _, _, _, c in analyze([told["policy"]]) if c["type"] == "ZtunnelAccepted" and c["reason"] != "Accepted"]
        difference = None
        if (want is None) == bool(got) or (want and got[0]["reason"] != want["reason"]):
            difference = ("otherwise", str(got))
        elif want and "found: " in want["message"]:
            named = want["message"].split("found: ")[1].split(")")[0]
            if any(word not in got[0]["message"] for word in named.split(", ")):
                difference = ("otherwise", got[0]["message"])
        if told["rules_still_enforced_at_l4"] is not None and not difference:
            dead = re.search(r"(\d+) of (\d+) rules can never fire", got[0]["message"])
            if (dead is None or dead.group(1) != dead.group(2)) != told["rules_still_enforced_at_l4"]:
                difference = ("otherwise", got[0]["message"])
        outcomes.add("ambient-l4-policies/status-messages/" + told["name"], difference)


def integration(outcomes):
    folder = "authz-integration"
    ports = {"http": 8080, "http2": 8085, "grpc": 7070, "tcp": 9090, "https": 8443}
    objects = ambient("ns1", "ns2") + [pod("a", "ns1", {"app": "a"}, ["10.0.1.1"], "a"), pod("b", "ns1", {"app": "b"}, ["10.0.1.2"]),
                                       pod("a", "ns2", {"app": "a"}, ["10.0.2.1"], "a")]
    values = {"{{ .To.ServiceName }}": "b", "{{ .To.ClusterLocalFQDN }}": "b.ns1.svc.cluster.local",
              "{{ .Allowed.SpiffeIdentity }}": "cluster.local/ns/ns1/sa/a", "{{ .Allowed.NamespaceName }}": "ns1"}
    for name, port in ports.items():
        values["{{ (.To.PortForName `%s`).WorkloadPort }}" % name] = str(port)
    for test in load(folder, "cases.json")["tests"]:
        policies = []
        for template in test["policies"]:
            with open(os.path.join(FIXTURES, folder, "policies", template), encoding="utf-8") as file:
                text = file.read()
            for variable, value in values.items():
                text = text.replace(variable, value)
            assert "{{" not in text, text
            policies += [document for document in yaml.safe_load_all(text) if document]
        for policy in policies:
            policy["metadata"]["namespace"] = "ns1"
        for index, told in enumerate(test["cases"]):
            for role, workload in test["roles"].items():
                namespace, name = workload.lower().split(".")
                for port in told.get("ports", ["http"]):
                    allow = role == "allowed" if told["allow"] == "<allow>" else told["allow"]
                    request = {"source": {"principal": "cluster.local/ns/%s/sa/%s" % (namespace, name)},
                               "destination": {"pod": "ns1/b", "port": ports[port]}}
                    case = "%s/%s/%d/%s/%s" % (folder, test["test"], index, port, role)
                    outcomes.add(case, decision(explain(objects + policies, [request])[0], "allow" if allow else "deny"))


def peer_authentication(outcomes):
    for told in load("peer-authentication", "cases.json")["cases"]:
        objects = [document for document in yaml.safe_load_all(told["config"]) if document]
        objects += ambient("default") + [pod("foo", "default", {"app": "foo"}, ["10.0.0.1"])]
        requests = [{"source": {"principal": "cluster.local/ns/default/sa/client" if "mesh" in call["client"] else None},
                     "destination": {"pod": "default/foo", "port": call["port"]}} for call in told["calls"]]
        for call, answer in zip(told["calls"], explain(objects, requests)):
            want = {"allowed": "allow", "refused": "deny"}[call["expect"]]
            outcomes.add("peer-authentication/%s/%s" % (told["name"], call["name"]), decision(answer, want))


def policy_match(match):
    """A match of the wire's form in that of the dump."""
    out = {}
    for key, values in match.items():
        texts = []
        for value in values:
            if isinstance(value, dict) and "address" in value:
                texts.append("%s/%d" % (".".join(map(str, base64.b64decode(value["address"]))), value["length"]))
            elif isinstance(value, dict):
                word, text = next(iter(value.items()))
                texts.append({word.capitalize(): text or []})
            else:
                texts.append(value)
        out[key] = texts
    return out


def same_policy(got, want):
    """Clauses all hold and rules are alternatives: neither has an order."""
    def plain(rules):
        return sorted(sorted(json.dumps([{k: v for k, v in m.items() if v} for m in clause], sort_keys=True) for clause in rule)
                      for rule in rules)

    rules = [[[policy_match(match) for match in clause["matches"]] for clause in group["rules"]] for group in want["groups"]]
    return (got["name"] == want["name"] and got["action"].upper() == want.get("action", "ALLOW")
            and got["scope"] == {"NAMESPACE": "Namespace", "WORKLOAD_SELECTOR": "WorkloadSelector"}[want["scope"]]
            and plain(got["rules"]) == plain(rules))


def policy_goldens(outcomes):
    folder = "ambient-l4-policies"
    for name in sorted(os.listdir(os.path.join(FIXTURES, folder))):
        base, found, _ = name.partition(".golden.yaml")
        if not found:
            continue
        want = documents(folder, name)
        got = [policy for policy in mesh_of(documents(folder, base + "-in.yaml"))["policies"]
               if policy["name"] != "istio_converted_static_strict"]
        same = len(got) == len(want) and all(same_policy(*pair) for pair in zip(got, want))
        outcomes.add("%s/%s.golden" % (folder, base), None if same else ("otherwise", json.dumps(got)))
