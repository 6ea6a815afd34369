"""What is missing, broken or hostile: pods do not start outside the mesh by accident, and one bad thing harms no other."""
import json
import os
import socket
import ssl

from harness import LabError, case, evidence, expect, fabric, get, netns_path, programs, wait_for
from lab_lib.shell import run

SCENARIO = "policies"
LATECOMER = ("apiVersion: v1\nkind: Pod\nmetadata: {name: latecomer, namespace: %s, labels: {app: latecomer}}\n"
             "spec: {nodeName: node-a, containers: [{name: app, ports: [{containerPort: 8080}]}]}\n")


def refuses_pod(mesh, why):
    """A pod of the mesh is refused by the plugin, and leaves nothing behind; a pod outside the mesh is not."""
    try:
        mesh.apply(LATECOMER % "production")
    except LabError as problem:
        expect("weft-cni" in str(problem), "the pod failed for another reason: %s" % problem)
    else:
        raise AssertionError("a pod of the mesh started without " + why)
    record = mesh.lab.data["pods"]["production/latecomer"]
    expect(not record["process"] and not os.path.exists(netns_path(record["netns"])), "a part of the refused pod is left")


def pod_starts(mesh):
    mesh.apply()
    mesh.eventually("production/latecomer", "http://web.production/", 200)
    mesh.reset()


@case("without an agent no pod of the mesh starts; with it again the same pod does")
def no_agent(mesh):
    mesh.lab.stop_process("weft-agent on node-a")
    refuses_pod(mesh, "an agent")
    mesh.lab.programs().start_agent("node-a")
    wait_ztunnel(mesh, "node-a")
    pod_starts(mesh)


@case("without a ztunnel no pod of the mesh starts, and pods in the mesh send nothing past it")
def no_ztunnel(mesh):
    mesh.lab.stop_process("ztunnel on node-a", limit_s=40)
    refuses_pod(mesh, "a ztunnel")
    got = mesh.ask("production/client", "http://web.production/", limit_s=3)
    expect(got["outcome"] in ("closed", "timeout"), "a captured pod's traffic went past a missing ztunnel: %s" % got)
    mesh.lab.programs().start_ztunnel("node-a")
    mesh.eventually("production/client", "http://web.production/", 200)
    pod_starts(mesh)


def wait_ztunnel(mesh, node):
    wait_for("ztunnel on %s to be ready again" % node, lambda: programs.http_get(
        mesh.lab.prefix + node, programs.ZTUNNEL_READY, "/healthz/ready")[0] == 200, 40)


@case("an agent that restarts finds its pods again, and traffic goes on meanwhile")
def agent_restarts(mesh):
    mesh.eventually("production/client", "http://web.production/", 200)
    load = mesh.lab.load_from("production/client", {"url": "http://web.production/", "prefix": "a-"})
    mesh.lab.stop_process("weft-agent on node-a")
    mesh.lab.programs().start_agent("node-a")
    wait_ztunnel(mesh, "node-a")
    mesh.eventually("production/client", "http://web.production/", 200)
    got = load.stop()
    expect(got["sent"] and not got["failures"], "%d of %d requests failed: %s"
           % (len(got["failures"]), len(got["sent"]), got["failures"][:3]))
    count = evidence.total(evidence.metrics(mesh.lab, "node-a"), "workload_manager_active_proxy_count")
    expect(count >= 3, "ztunnel on node-a serves %d pods" % count)


@case("without the authority traffic goes on while certificates live")
def no_authority(mesh):
    mesh.eventually("production/client", "http://web.production/", 200)
    mesh.lab.stop_process("weft-certs on control")
    for got in mesh.lab.ask("production/client", [{"url": "http://web.production/", "count": 10}]):
        expect(got["outcome"] == 200, got)
    mesh.lab.programs().start_authority()
    mesh.eventually("staging/tester", "http://web.production/", 200)


def still_serves(mesh):
    mesh.eventually("production/client", "http://httpbin.production/", 200)


@case("plain text on the tunnel port is closed without an answer, and harms nobody")
def plain_on_tunnel_port(mesh):
    for ip in mesh.ips("production/httpbin"):
        sock = mesh.connect("outside/plain", ip, 15008)
        answer = get(sock)
        sock.close()
        expect(answer.startswith("closed"), "plain text on 15008 was answered: " + answer)
    still_serves(mesh)


def certificate(mesh, name, uris, days=1, own_authority=False):
    """A key and a certificate with these URI names, signed by the mesh's authority or by one made up here."""
    folder = os.path.join(mesh.lab.folder, "control", "hostile")
    os.makedirs(folder, exist_ok=True)
    key, request, names, cert = (os.path.join(folder, name + end) for end in (".key", ".csr", ".names", ".pem"))
    ca = mesh.lab.programs().ca_folder
    ca_cert, ca_key = os.path.join(ca, "ca-cert.pem"), os.path.join(ca, "ca-key.pem")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"]
    if own_authority:
        ca_cert, ca_key = os.path.join(folder, "ca.pem"), os.path.join(folder, "ca.key")
        run(["openssl", "req", "-x509", *new_key, ca_key, "-out", ca_cert, "-days", "2", "-subj", "/O=stranger"])
    run(["openssl", "req", *new_key, key, "-out", request, "-subj", "/"])
    write(names, "subjectAltName=critical,%s\nextendedKeyUsage=clientAuth,serverAuth\n" % ",".join("URI:" + u for u in uris))
    run(["openssl", "x509", "-req", "-in", request, "-CA", ca_cert, "-CAkey", ca_key, "-CAcreateserial", "-days", str(days),
         "-extfile", names, "-out", cert])
    with open(cert, "a") as handle, open(ca_cert) as chain:
        handle.write(chain.read())
    return cert, key


def greeting(mesh, pair):
    """What a peer with that certificate hears on the tunnel port after an HTTP/2 preface; empty when it is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if pair:
        context.load_cert_chain(*pair)
    raw = mesh.connect("outside/plain", mesh.ips("production/httpbin")[0], 15008)
    try:
        with context.wrap_socket(raw) as sock:
            sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            return sock.recv(9)
    except socket.timeout:
        raise AssertionError("a refused peer was left waiting")
    except OSError:
        return b""
    finally:
        raw.close()


@case("a peer without a certificate, or with a foreign, expired, doubly named or strangely named one opens no tunnel")
def bad_certificates(mesh):
    good = ["spiffe://cluster.local/ns/staging/sa/tester"]
    expect(greeting(mesh, certificate(mesh, "good", good)), "a good certificate is refused, so the rest proves nothing")
    expect(not greeting(mesh, None), "a peer without a certificate was greeted")
    for name, uris, more in (("foreign", good, {"own_authority": True}), ("expired", good, {"days": -1}),
                             ("two", good + ["spiffe://cluster.local/ns/production/sa/client"], {}),
                             ("domain", ["spiffe://elsewhere.example/ns/staging/sa/tester"], {}),
                             ("shape", ["https://cluster.local/ns/staging/sa/tester"], {})):
        expect(not greeting(mesh, certificate(mesh, name, uris, **more)), "the certificate called '%s' was accepted" % name)
    still_serves(mesh)


@case("a broken file in the state folder is named, and the last good state of it and of all others stays")
def broken_state(mesh):
    path = extra_file(mesh)
    try:
        write(path, EXTRA)
        mesh.refused("staging/tester", "http://httpbin.production/", "explicitly denied by: production/extra")
        write(path, BROKEN + EXTRA)
        for node in fabric.NODES:
            wait_for("ztunnel's log on %s to name the broken file" % node, lambda: "extra.yaml" in log_of(mesh, node), 10)
        mesh.refused("staging/tester", "http://httpbin.production/", "explicitly denied by: production/extra")
        still_serves(mesh)
    finally:
        os.unlink(path)
    mesh.eventually("staging/tester", "http://httpbin.production/", 200)


@case("programs that start while a file cannot be read serve nobody by the rest: they wait until it is mended")
def broken_at_start(mesh):
    path, node = extra_file(mesh), mesh.node("production/httpbin")
    try:
        write(path, BROKEN + EXTRA)
        mesh.lab.stop_process("ztunnel on " + node, limit_s=40)
        mesh.lab.stop_process("weft-agent on " + node)
        mesh.lab.programs().start_agent(node)
        mesh.lab.programs().start_ztunnel_unready(node)
        wait_for("ztunnel to say what it waits for", lambda: "no pod is served until" in log_of(mesh, node), 10)
        status, body = programs.http_get(mesh.lab.prefix + node, programs.ZTUNNEL_READY, "/healthz/ready")
        expect(status == 500 and "state manager" in body, "ready by half of the mesh: %s %s" % (status, body))
        for caller in ("production/client", "staging/tester"):
            got = mesh.ask(caller, "http://httpbin.production/", limit_s=3)
            expect(got["outcome"] in ("closed", "timeout"), "%s was served by half of the mesh: %s" % (caller, got))
        write(path, EXTRA)
        wait_ztunnel(mesh, node)
        still_serves(mesh)
        mesh.refused("staging/tester", "http://httpbin.production/", "explicitly denied by: production/extra")
    finally:
        os.unlink(path)
    mesh.eventually("staging/tester", "http://httpbin.production/", 200)


EXTRA = ("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: extra, namespace: production}\n"
         "spec: {action: DENY, selector: {matchLabels: {app: httpbin}}, rules: [{from: [{source: {namespaces: [staging]}}]}]}\n")
BROKEN = "kind: [no end\n  : :\n"


def extra_file(mesh):
    return os.path.join(mesh.lab.folder, "state", "extra.yaml")


def write(path, text):
    with open(path + ".new", "w") as handle:
        handle.write(text)
    os.replace(path + ".new", path)


def log_of(mesh, node, program="ztunnel"):
    with open(os.path.join(mesh.lab.folder, node, program + ".log"), errors="replace") as handle:
        return handle.read()


@case("the plugin answers broken JSON, an unknown version and a vanished namespace with an error object")
def plugin_input(mesh):
    binary = programs.find(mesh.lab.data["build"], "weft-cni")
    config = {"cniVersion": "1.0.0", "name": "n", "type": "weft-cni", "ambient_enabled": True,
              "cni_agent_run_dir": os.path.join(mesh.lab.folder, "node-a", "run"),
              "manifest_dir": os.path.join(mesh.lab.folder, "state")}
    env = {"PATH": "/usr/bin:/bin", "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c", "CNI_IFNAME": "eth0", "CNI_PATH": "/usr/lib/cni",
           "CNI_NETNS": "/run/netns/weft-no-such", "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=production;K8S_POD_NAME=client"}
    for text, code in (("{", 6), (json.dumps(dict(config, cniVersion="9.9.9")), 1), (json.dumps(config), None)):
        done = run(["nsenter", "--net=" + netns_path(mesh.lab.prefix + "node-a"), "--", binary], data=text, env=env, check=False)
        expect(done.returncode == 1, "exit %d for %.40s: %s" % (done.returncode, text, done.stdout))
        reply = json.loads(done.stdout)
        expect(reply["msg"] and (code is None or reply["code"] == code), reply)
    done = run([binary], env=dict(env, CNI_COMMAND="VERSION"), data=json.dumps(config))
    expect({"0.3.1", "1.0.0"} <= set(json.loads(done.stdout)["supportedVersions"]), done.stdout)
    still_serves(mesh)
