#!/usr/bin/python3
"""What `weftctl explain` answers about the scenarios of the namespace suites.

    explain_test.py PATH/TO/weftctl

The scenarios are asked what tests/netns dials, and must be answered as it expects there."""
import http.server
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

import yaml

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCENARIOS = os.path.join(TREE, "tests", "scenarios")
WEFTCTL = None

STATIC_STRICT = "explicitly denied by: istio-system/istio_converted_static_strict"
NOT_ALLOWED = "allow policies exist, but none allowed"


def objects_of(folder):
    out = []
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            out += [document for document in yaml.safe_load_all(file) if document]
    return out


def key(item):
    return "%s/%s" % (item["kind"], item["metadata"]["name"])


def ask(objects, requests):
    """The answers, in order, of a mesh made of these objects."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "mesh.yaml"), "w", encoding="utf-8") as file:
            yaml.safe_dump_all(objects, file)
        lines = "".join(json.dumps(request) + "\n" for request in requests)
        done = subprocess.run([WEFTCTL, "explain", "--manifests", folder], input=lines, stdout=subprocess.PIPE, text=True,
                              check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def principal_of(objects, caller):
    """The identity of the pod or workload kind that the scenario calls by this name; None outside the mesh."""
    ns, name = caller.split("/")
    in_mesh = {o["metadata"]["name"] for o in objects if o["kind"] == "Namespace"
               and (o["metadata"].get("labels") or {}).get("istio.io/dataplane-mode") == "ambient"}
    for item in objects:
        if item["metadata"].get("namespace") != ns or not item["metadata"]["name"].startswith(name):
            continue
        spec = item.get("spec") or {}
        labels = item["metadata"].get("labels") or {}
        if "template" in spec:
            spec = spec["template"]["spec"]
        elif item["kind"] != "Pod":
            continue
        if ns in in_mesh or labels.get("istio.io/dataplane-mode") == "ambient":
            return "cluster.local/ns/%s/sa/%s" % (ns, spec.get("serviceAccountName", "default"))
        return None
    raise AssertionError("no workload " + caller)


class Shop(unittest.TestCase):
    """tests/scenarios/shop with the requests of suite_shop."""

    def setUp(self):
        self.objects = objects_of(os.path.join(SCENARIOS, "shop"))
        with open(os.path.join(SCENARIOS, "shop-requests.yaml"), encoding="utf-8") as table:
            self.variants = {entry["variant"]: entry["cases"] for entry in yaml.safe_load(table)}

    def request(self, case):
        name, _, ns = case["to"].partition(".")
        ns = ns or case["from"].split("/")[0]
        return {"id": case["id"], "source": {"principal": principal_of(self.objects, case["from"])},
                "destination": {"service": "%s/%s" % (ns, name), "port": 80}}

    def answers(self, variant, without=()):
        cases = self.variants[variant]
        objects = [item for item in self.objects if key(item) not in without]
        return list(zip(cases, ask(objects, [self.request(case) for case in cases])))

    def test_every_request_of_the_table_is_answered_as_it_ends(self):
        for case, answer in self.answers("literal-l4"):
            with self.subTest(case["id"]):
                self.assertEqual(answer["id"], case["id"])
                self.assertEqual(answer["decision"], "allow" if case["expect"] == 200 else "deny", answer)

    def test_a_refusal_names_what_refuses_and_goes_with_it(self):
        for case, answer in self.answers("literal-l4"):
            if case["expect"] == 200:
                continue
            with self.subTest(case["id"]):
                kind, name = case["by"].split("/")
                self.assertEqual(answer["kind"], kind)
                self.assertEqual(answer["layer"], "l4")
                if kind == "PeerAuthentication":
                    self.assertEqual(answer["policy"], "ecommerce/" + name)
                    self.assertTrue(answer["reason"].startswith(STATIC_STRICT), answer)
                else:
                    self.assertEqual((answer["policy"], answer["candidates"]), (None, ["ecommerce/" + name]))
                    self.assertTrue(answer["reason"].startswith(NOT_ALLOWED), answer)
                gone = [case[word] for word in ("by", "also") if word in case]
                again = {c["id"]: a for c, a in self.answers("literal-l4", gone)}
                self.assertEqual(again[case["id"]]["decision"], "allow")

    def test_without_policies_everybody_is_let_in(self):
        gone = [key(item) for item in self.objects if item["kind"] in ("PeerAuthentication", "AuthorizationPolicy")]
        for case, answer in self.answers("traffic-l4-only", gone):
            self.assertEqual((answer["decision"], answer["layer"], answer["policy"]), ("allow", "none", None), case["id"])


def security(kind, name, spec, namespace="production"):
    return {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def mode(word, name="default", **more):
    return security("PeerAuthentication", name, {"mtls": {"mode": word}, **more})


def allow(name, *rules):
    return security("AuthorizationPolicy", name, {"rules": list(rules)})


HTTPBIN = {"selector": {"matchLabels": {"app": "httpbin"}}}
PORT_EXCEPTION = mode("STRICT", "httpbin-mtls", portLevelMtls={9000: {"mode": "DISABLE"}}, **HTTPBIN)
ISOLATION = allow("namespace-isolation", {"from": [{"source": {"namespaces": ["production", "trusted"]}}]},
                  {"to": [{"operation": {"methods": ["GET", "POST"]}}]})
DENY_ALL = security("AuthorizationPolicy", "default-deny-all", {})
WITHIN = allow("allow-within-namespace", {"from": [{"source": {"namespaces": ["production"]}}]})
NO_9000 = security("AuthorizationPolicy", "no-9000",
                   {"action": "DENY", "rules": [{"to": [{"operation": {"ports": ["9000"]}}]}], **HTTPBIN})

# What suite_policies dials: (objects, caller, service, port, what decides or None for a refusal without one, let in?).
POLICIES = [
    ([mode("STRICT")], "production/client", "web", 80, None, True),
    ([mode("STRICT")], "outside/plain", "web", 80, "production/default", False),
    ([mode("STRICT")], "outside/plain", "httpbin", 9000, "production/default", False),
    ([], "outside/plain", "web", 80, None, True),
    ([PORT_EXCEPTION], "outside/plain", "httpbin", 80, "production/httpbin-mtls", False),
    ([PORT_EXCEPTION], "outside/plain", "httpbin", 9000, None, True),
    ([PORT_EXCEPTION], "production/client", "httpbin", 9000, None, True),
    ([PORT_EXCEPTION], "production/client", "httpbin", 80, None, True),
    ([ISOLATION], "staging/tester", "web", 80, None, False),
    ([ISOLATION], "production/client", "web", 80, "production/namespace-isolation", True),
    ([ISOLATION], "trusted/friend", "web", 80, "production/namespace-isolation", True),
    ([mode("PERMISSIVE")], "production/client", "httpbin", 80, None, True),
    ([mode("PERMISSIVE")], "outside/plain", "httpbin", 80, None, True),
    ([DENY_ALL, WITHIN], "staging/tester", "web", 80, None, False),
    ([DENY_ALL, WITHIN], "trusted/friend", "web", 80, None, False),
    ([DENY_ALL, WITHIN], "istio-system/gateway", "web", 80, None, False),
    ([DENY_ALL, WITHIN], "outside/plain", "web", 80, None, False),
    ([DENY_ALL, WITHIN], "production/client", "web", 80, "production/allow-within-namespace", True),
    ([DENY_ALL], "production/client", "web", 80, None, False),
    ([NO_9000], "production/client", "httpbin", 9000, "production/no-9000", False),
    ([NO_9000], "production/client", "httpbin", 80, None, True),
]


class Policies(unittest.TestCase):
    """tests/scenarios/policies with the policies of suite_policies."""

    def test_every_pair_is_answered_as_it_ends(self):
        scenario = objects_of(os.path.join(SCENARIOS, "policies"))
        for policies, caller, service, port, decides, let_in in POLICIES:
            with self.subTest("%s to %s:%d under %s" % (caller, service, port, [key(p) for p in policies])):
                request = {"source": {"principal": principal_of(scenario, caller)},
                           "destination": {"service": "production/" + service, "port": port}}
                answer = ask(scenario + policies, [request])[0]
                self.assertEqual((answer["decision"], answer["policy"]), ("allow" if let_in else "deny", decides), answer)


class Program(unittest.TestCase):
    def test_manifests_that_cannot_be_read_are_refused(self):
        done = subprocess.run([WEFTCTL, "explain", "--manifests", "nowhere-at-all"], input="", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("nowhere-at-all", done.stderr)

    def test_a_node_that_cannot_be_reached_is_named(self):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            address = "127.0.0.1:%d" % closed.getsockname()[1]
        done = subprocess.run([WEFTCTL, "explain", "--admin", address], input='{"destination": {"ip": "10.0.0.1"}}\n',
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("cannot reach the node for POST /explain at " + address, done.stderr)

    def test_the_status_of_a_node_that_cannot_be_reached_says_what_to_do(self):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            address = "127.0.0.1:%d" % closed.getsockname()[1]
        done = subprocess.run([WEFTCTL, "status", "--admin", address, "--agent", address], stdout=subprocess.PIPE, text=True,
                              timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("cannot reach the node for GET /status at %s" % address, done.stdout)
        self.assertIn("kubectl port-forward", done.stdout)
        self.assertNotIn("\033", done.stdout)

    def test_a_node_is_sent_what_came_and_asked_again_for_answers_it_left_out(self):
        sent = []

        class OneAnswer(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                sent.append((self.path, self.rfile.read(int(self.headers["content-length"])).decode()))
                body = b'{"answered": %s}\n' % sent[-1][1].splitlines()[0].encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OneAnswer) as node:
            threading.Thread(target=node.serve_forever, daemon=True).start()
            done = subprocess.run([WEFTCTL, "explain", "--admin", "127.0.0.1:%d" % node.server_port], input="1\n\n2\n \n3",
                                  stdout=subprocess.PIPE, text=True, check=True, timeout=60)
            node.shutdown()
        self.assertEqual(done.stdout, '{"answered": 1}\n{"answered": 2}\n{"answered": 3}\n')
        self.assertEqual(sent[0], ("/explain", "1\n2\n"))
        self.assertEqual([body for _, body in sent[1:]], ["2\n", "3\n"])

    def test_a_wrong_command_line_is_a_usage_error(self):
        for words in ([], ["explain"], ["analyze"], ["analyze", "-o", "xml", "x"], ["completion", "tcsh"], ["nonsense"],
                      ["explain", "--admin", "a:0"], ["explain", "--admin", "a", "--manifests", "x"],
                      ["explain", "--admin", "a", "-n", "x"], ["status", "x"], ["status", "-o", "yaml"],
                      ["status", "--admin", "a:b"], ["status", "--agent", "a", "--agent", "b"]):
            done = subprocess.run([WEFTCTL, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual(done.returncode, 64, words)
            self.assertTrue(done.stderr, words)

    def test_help_has_examples_and_bash_takes_the_completion(self):
        for words in (["--help"], ["analyze", "--help"], ["explain", "--help"], ["status", "--help"], ["completion", "--help"]):
            done = subprocess.run([WEFTCTL, *words], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
            self.assertIn("\nExample", done.stdout)
        script = subprocess.run([WEFTCTL, "completion", "bash"], stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
        asked = script + "COMP_WORDS=(weftctl analyze --output ''); COMP_CWORD=3; _weftctl; echo \"${COMPREPLY[*]}\"\n" \
            "COMP_WORDS=(weftctl ''); COMP_CWORD=1; _weftctl; echo \"${COMPREPLY[*]}\"\n"
        asked += "COMP_WORDS=(weftctl status --a); COMP_CWORD=2; _weftctl; echo \"${COMPREPLY[*]}\"\n" \
            "COMP_WORDS=(weftctl status -o ''); COMP_CWORD=3; _weftctl; echo \"${COMPREPLY[*]}\"\n"
        done = subprocess.run(["bash", "-c", asked], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
        self.assertEqual(done.stdout.splitlines()[0], "text json")
        self.assertIn("analyze explain status completion", done.stdout)
        self.assertEqual(done.stdout.splitlines()[2:], ["--admin --agent", "text json"])


def main():
    global WEFTCTL
    WEFTCTL = os.path.abspath(sys.argv.pop(1))
    unittest.main()


if __name__ == "__main__":
    main()
