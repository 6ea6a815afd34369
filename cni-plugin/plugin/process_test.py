#!/usr/bin/python3
"""Drives the built plugin as a container runtime does: variables, standard input, exit status, standard output.

    process_test.py WEFT_CNI"""
import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

BINARY = ""
LIMIT_S = 30
STATE = """
{apiVersion: v1, kind: Namespace, metadata: {name: mesh, labels: {istio.io/dataplane-mode: ambient}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: mesh, uid: u-1}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: plain}}
---
{apiVersion: v1, kind: Pod, metadata: {name: free, namespace: plain}}
---
{apiVersion: v1, kind: Pod, metadata: {name: stray, namespace: nowhere}}
"""
PREVIOUS = {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0"}],
            "ips": [{"interface": 0, "address": "10.244.0.5/24", "gateway": "10.244.0.1"}], "dns": {}}


class Agent:
    """Answers one kind of request on a socket, with a canned reply; None answers nothing."""

    def __init__(self, path, reply):
        self.requests = []
        self.reply = reply
        self.held = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            while len(body) < length:
                body += connection.recv(65536)
            self.requests.append((head.decode(), json.loads(body)))
            if self.reply is None:
                self.held.append(connection)
                continue
            connection.sendall(self.reply)
            connection.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for connection in self.held:
            connection.close()


class Plugin(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.run_dir, self.state = os.path.join(self.folder, "run"), os.path.join(self.folder, "state")
        os.mkdir(self.run_dir)
        os.mkdir(self.state)
        self.write("cluster.yaml", STATE)
        # Any file will do as a namespace's path: only the agent opens it.
        self.netns = os.path.join(self.folder, "netns")
        open(self.netns, "w").close()
        self.config = {"cniVersion": "1.0.0", "name": "net", "type": "weft-cni", "ambient_enabled": True,
                       "cni_agent_run_dir": self.run_dir, "manifest_dir": self.state, "pod_namespace": "istio-system",
                       "exclude_namespaces": ["kube-system"], "prevResult": PREVIOUS}

    def write(self, name, text):
        with open(os.path.join(self.state, name), "w") as handle:
            handle.write(text)

    def call(self, command="ADD", pod="mesh/web", text=None, **env):
        namespace, _, name = pod.partition("/")
        variables = {"CNI_COMMAND": command, "CNI_CONTAINERID": "c1", "CNI_NETNS": self.netns, "CNI_IFNAME": "eth0",
                     "CNI_PATH": "/opt/cni/bin",
                     "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s" % (namespace, name)}
        variables.update(env)
        done = subprocess.run([BINARY], input=json.dumps(self.config) if text is None else text, text=True,
                              capture_output=True, timeout=LIMIT_S,
                              env={k: v for k, v in variables.items() if v is not None})
        self.log = done.stderr
        return done.returncode, json.loads(done.stdout) if done.stdout else None

    def refused(self, code, words, **call):
        status, reply = self.call(**call)
        self.assertEqual((status, reply["code"]), (1, code), reply)
        self.assertIn(words, reply["msg"])
        return reply

    @contextlib.contextmanager
    def agent(self, reply, name="pluginevent.sock"):
        agent = Agent(os.path.join(self.run_dir, name), reply)
        try:
            yield agent
        finally:
            agent.close()

    # -------------------------------------------------------------- the mesh
    def test_a_pod_of_the_mesh_is_told_to_the_agent_and_the_result_is_handed_on(self):
        with self.agent(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as agent:
            self.assertEqual(self.call(), (0, PREVIOUS))
        (head, body), = agent.requests
        self.assertTrue(head.startswith("POST /cmdadd HTTP/1.1\r\n"), head)
        self.assertEqual(body, {"Netns": self.netns, "PodName": "web", "PodNamespace": "mesh", "IPs": [
            {"Interface": 0, "Address": {"IP": "10.244.0.5", "Mask": base64.b64encode(b"\xff\xff\xff\0").decode()},
             "Gateway": "10.244.0.1"}]})

    def test_an_agent_that_says_no_refuses_the_pod_in_its_words(self):
        with self.agent(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 21\r\n\r\nno ztunnel connection") as agent:
            reply = self.refused(999, "istio-cni cmdAdd failed to contact node Istio CNI agent: ")
        self.assertIn("500", reply["msg"])
        self.assertIn("no ztunnel connection", reply["msg"])
        self.assertEqual(len(agent.requests), 1, "the plugin does not retry; the kubelet does")

    def test_without_an_agent_the_pod_is_refused(self):
        reply = self.refused(999, "istio-cni cmdAdd failed to contact node Istio CNI agent: ")
        self.assertIn("pluginevent.sock", reply["msg"])
        # A socket that nobody listens on any more.
        with self.agent(b""):
            pass
        self.refused(999, "istio-cni cmdAdd failed to contact node Istio CNI agent: ")

    def test_an_agent_that_does_not_answer_refuses_the_pod_in_time(self):
        with self.agent(None):
            self.refused(999, "istio-cni cmdAdd failed to contact node Istio CNI agent: ")

    def test_an_agent_that_hangs_up_or_talks_nonsense_refuses_the_pod(self):
        for reply in (b"", b"HTTP/1.1 200", b"hello\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"):
            with self.subTest(reply), self.agent(reply):
                self.refused(999, "istio-cni cmdAdd failed to contact node Istio CNI agent: ")
            os.unlink(os.path.join(self.run_dir, "pluginevent.sock"))

    def test_a_vanished_namespace_refuses_the_pod_before_the_agent_hears_of_it(self):
        with self.agent(b"HTTP/1.1 200 OK\r\n\r\n") as agent:
            self.refused(999, "/gone", CNI_NETNS="/gone")
        self.assertFalse(agent.requests)

    def test_the_own_namespace_is_never_redirected(self):
        self.refused(8, "should not be the same", CNI_NETNS="/proc/self/ns/net")

    def test_a_pod_nobody_knows_is_refused(self):
        self.refused(999, "mesh/ghost is not known", pod="mesh/ghost")

    def test_a_pod_that_becomes_known_while_the_plugin_looks_again_is_added(self):
        self.config["enable_ambient_detection_retry"] = True
        self.config["plugin_log_level"] = "debug"
        log = os.path.join(self.run_dir, "istio-cni.log")
        with self.agent(b"HTTP/1.1 200 OK\r\n\r\n"):
            variables = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": self.netns, "CNI_IFNAME": "eth0",
                         "CNI_PATH": "/x", "CNI_ARGS": "K8S_POD_NAMESPACE=mesh;K8S_POD_NAME=late"}
            process = subprocess.Popen([BINARY], env=variables, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            process.stdin.write(json.dumps(self.config))
            process.stdin.close()
            self.assertIn("not found", process.stderr.readline())
            self.write("late.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: late, namespace: mesh}}")
            self.assertEqual(json.loads(process.stdout.read()), PREVIOUS)
            self.assertEqual(process.wait(LIMIT_S), 0)
            process.stdout.close()
            process.stderr.close()
        with open(log) as handle:
            self.assertIn("pod added to the mesh", handle.read())

    # -------------------------------------------------------------- not the mesh
    def test_other_pods_start_without_the_agent(self):
        for pod in ("plain/free", "kube-system/ghost", "istio-system/istio-cni-node-x7", "/"):
            with self.subTest(pod):
                self.assertEqual(self.call(pod=pod), (0, PREVIOUS))
        self.config["ambient_enabled"] = False
        self.assertEqual(self.call(), (0, PREVIOUS))

    def test_a_pod_whose_namespace_nobody_describes_starts_with_the_word_of_the_agent_only(self):
        self.refused(999, "failed to contact node Istio CNI agent: ", pod="nowhere/stray")
        with self.agent(b"HTTP/1.1 200 OK\r\n\r\n") as agent:
            self.assertEqual(self.call(pod="nowhere/stray"), (0, PREVIOUS))
        self.assertEqual(len(agent.requests), 1)

    def test_the_agent_itself_starts_even_when_nothing_else_is_right(self):
        self.config["manifest_dir"] = "/gone"
        self.assertEqual(self.call(pod="istio-system/istio-cni-node-x7"), (0, PREVIOUS))
        self.refused(999, "failed to createNewK8sClient", pod="plain/free")
        del self.config["manifest_dir"]
        self.refused(999, "failed to createNewK8sClient", pod="plain/free")

    def test_a_broken_file_holds_up_only_pods_it_may_be_about(self):
        self.write("broken.yaml", "kind: [\nnamespace: plain\n")
        reply = self.refused(999, "broken.yaml", pod="plain/free")
        self.assertIn("unreadable", reply["msg"])
        self.write("broken.yaml", "kind: [\nnamespace: other\n")
        self.assertEqual(self.call(pod="plain/free"), (0, PREVIOUS))

    # -------------------------------------------------------------- protocol
    def test_bad_input_has_an_error_object(self):
        self.refused(6, "", text="{")
        self.refused(6, "", text="")
        self.refused(1, "incompatible CNI versions", text=json.dumps(dict(self.config, cniVersion="9.9.9")))
        self.refused(7, "missing network name", text="{}")
        self.refused(4, "CNI_NETNS", CNI_NETNS=None)
        self.refused(4, "CNI_COMMAND: FROB", command="FROB")
        self.refused(4, "containerID", CNI_CONTAINERID="a/b")
        self.refused(999, "ARGS", CNI_ARGS="nonsense")
        self.refused(999, "prevResult", text=json.dumps(dict(self.config, prevResult={"ips": [{"address": "x"}]})))
        self.refused(999, "ambient_enabled", text=json.dumps(dict(self.config, ambient_enabled=[])))
        self.refused(5, "too much", text=" " * (5 << 20))

    def test_the_result_has_the_version_of_the_configuration(self):
        self.config["cniVersion"] = "0.3.1"
        status, result = self.call(pod="plain/free")
        self.assertEqual((status, result["cniVersion"], result["ips"][0]["version"]), (0, "0.3.1", "4"))
        del self.config["prevResult"]
        self.assertEqual(self.call(pod="plain/free"), (0, {"cniVersion": "0.3.1", "dns": {}}))

    def test_commands_with_nothing_to_do_succeed_in_silence(self):
        self.config["cniVersion"] = "1.1.0"
        for command in ("DEL", "CHECK", "GC", "STATUS"):
            self.assertEqual(self.call(command=command), (0, None))
        self.assertEqual(self.call(command="DEL", CNI_NETNS=None), (0, None))
        self.config["cniVersion"] = "1.0.0"
        self.refused(1, "does not allow STATUS", command="STATUS")

    def test_a_removed_pod_is_told_to_the_agent(self):
        with self.agent(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as agent:
            self.assertEqual(self.call(command="DEL"), (0, None))
        (head, body), = agent.requests
        self.assertTrue(head.startswith("POST /cmddel HTTP/1.1\r\n"), head)
        self.assertEqual(body, {"Netns": self.netns, "PodName": "web", "PodNamespace": "mesh", "IPs": None})

    def test_a_pod_is_removed_whatever_the_agent_says(self):
        for reply in (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"nonsense", b"", None):
            with self.agent(reply):
                self.assertEqual(self.call(command="DEL"), (0, None))
            os.unlink(os.path.join(self.run_dir, "pluginevent.sock"))
        self.config["ambient_enabled"] = "no"
        self.assertEqual(self.call(command="DEL"), (0, None))

    def test_version_needs_nothing(self):
        for text in ("", "{", json.dumps(self.config)):
            status, reply = self.call(command="VERSION", text=text, CNI_PATH=None)
            self.assertEqual(status, 0)
            self.assertEqual(reply["supportedVersions"], ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
        self.assertEqual(self.call(command=None, text=""), (0, None))
        self.assertIn("CNI plugin weft-cni", self.log)

    # -------------------------------------------------------------- logs
    def test_lines_go_to_standard_error_to_the_agent_and_to_a_file(self):
        with self.agent(b"HTTP/1.1 200 OK\r\n\r\n", "log.sock") as agent:
            self.refused(999, "failed to contact")
        line = json.loads(self.log.splitlines()[-1])
        self.assertEqual((line["level"], line["pod"], line["namespace"]), ("error", "web", "mesh"))
        self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        (head, body), = agent.requests
        self.assertTrue(head.startswith("POST /log "), head)
        self.assertEqual([json.loads(text) for text in body], [json.loads(text) for text in self.log.splitlines()])
        with open(os.path.join(self.run_dir, "istio-cni.log")) as handle:
            self.assertEqual(handle.read(), self.log)

    def test_a_full_log_file_is_moved_aside(self):
        path = os.path.join(self.run_dir, "istio-cni.log")
        with open(path, "w") as handle:
            handle.truncate(10 << 20)
        self.call(pod="plain/free")
        self.assertEqual(os.path.getsize(path + ".1"), 10 << 20)
        self.assertLess(os.path.getsize(path), 4096)

    def test_a_level_of_none_is_quiet(self):
        self.config["plugin_log_level"] = "none"
        self.refused(999, "failed to contact")
        self.assertEqual(self.log, "")


if __name__ == "__main__":
    BINARY = sys.argv.pop(1)
    unittest.main()
