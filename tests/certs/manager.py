"""The certificate manager as a program: manager.py WEFT_CERTS. It is asked by grpcio and judged by the openssl program.

Skipped (77) where Python has no grpc module."""
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # refused handshakes are part of what is tried
try:
    import grpc
except ImportError:
    print("skipped: no Python module grpc (Debian: python3-grpcio)")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools"))
from lab_lib.shell import wait_for  # noqa: E402

PROGRAM = sys.argv.pop(1) if len(sys.argv) > 1 else ""
METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
LIMIT_S = 30
CART, USERS = "spiffe://cluster.local/ns/shop/sa/cart", "spiffe://cluster.local/ns/shop/sa/users"
POD = """apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: shop}
spec: {nodeName: %s, serviceAccountName: %s}
---
"""


def openssl(*arguments, text=None):
    done = subprocess.run(("openssl",) + arguments, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise AssertionError("openssl %s: %s" % (" ".join(arguments), done.stdout))
    return done.stdout


def until(what, condition):
    wait_for(what, condition, LIMIT_S)


def write(path, text):
    with open(path + ".new", "w") as out:
        out.write(text)
    os.rename(path + ".new", path)


def read(path):
    with open(path) as source:
        return source.read()


# The two messages of certs/proto/ca.proto, by hand: no generated code, and an independent reading of the wire format.
def field(number, payload):
    return bytes([number << 3 | 2]) + varint(len(payload)) + payload


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def request_message(csr, identity, seconds):
    message = field(1, csr.encode()) + bytes([3 << 3]) + varint(seconds)
    if identity:
        value = field(3, identity.encode())
        message += field(4, field(1, field(1, b"ImpersonatedIdentity") + field(2, value)))
    return message


def elements(response):
    out, at = [], 0
    while at < len(response):
        assert response[at] == 1 << 3 | 2
        at, size, shift = at + 1, 0, 0
        while True:
            byte, at = response[at], at + 1
            size, shift = size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        out.append(response[at:at + size].decode())
        at += size
    return out


class Manager:
    def __init__(self, folder, extra=()):
        self.folder = folder
        self.ca, self.manifests, self.tokens = (os.path.join(folder, name) for name in ("ca", "manifests", "tokens"))
        self.log_path = os.path.join(folder, "log")
        self.log_file = open(self.log_path, "w")
        self.process = subprocess.Popen(
            [PROGRAM, "--listen", "127.0.0.1:0", "--status-port", "0", "--ca-dir", self.ca, "--manifest-dir", self.manifests,
             "--token-dir", self.tokens, "--server-name", "ca.test,127.0.0.1", *extra],
            stdout=self.log_file, stderr=subprocess.STDOUT)
        until("the manager listening", lambda: "listening" in self.log() or self.process.poll() is not None)
        found = re.search(r'listening.*address="127.0.0.1:(\d+)" status="127.0.0.1:(\d+)"', self.log())
        self.port, self.status = found.groups() if found else (None, None)

    def log(self):
        return read(self.log_path)

    def token(self, node):
        until("a token for " + node, lambda: os.path.exists(os.path.join(self.tokens, node)))
        return read(os.path.join(self.tokens, node))

    def ask(self, csr, identity, token, seconds=86400):
        """The answer's elements. Each call is a connection of its own that trusts the root file as it is now."""
        credentials = grpc.ssl_channel_credentials(read(os.path.join(self.ca, "root-cert.pem")).encode())
        with grpc.secure_channel("127.0.0.1:" + self.port, credentials, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            metadata = [("authorization", "Bearer " + token)] if token is not None else []
            call = channel.unary_unary(METHOD)
            return elements(call(request_message(csr, identity, seconds), timeout=LIMIT_S, metadata=metadata))

    def page(self, path):
        try:
            with urllib.request.urlopen("http://127.0.0.1:%s%s" % (self.status, path), timeout=LIMIT_S) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def number(self, name):
        return float(re.search("^" + re.escape(name) + r" (\S+)$", self.page("/metrics")[1], re.MULTILINE).group(1))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(LIMIT_S)
        self.log_file.close()
        return code


class Case(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="weft-certs-")
        self.addCleanup(holder.cleanup)
        self.folder = holder.name
        for name in ("ca", "manifests", "work"):
            os.mkdir(os.path.join(self.folder, name), 0o700)
        self.put_pods(("cart", "node-a"), ("users", "node-b"))
        self.key = self.path("key.pem")
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key)

    def path(self, name):
        return os.path.join(self.folder, "work", name)

    def put_pods(self, *pods):
        write(os.path.join(self.folder, "manifests", "pods.yaml"), "".join(POD % (sa, node, sa) for sa, node in pods))

    def start(self, *extra):
        manager = Manager(self.folder, extra)
        self.addCleanup(manager.stop)
        self.assertIsNotNone(manager.port, manager.log())
        return manager

    def csr(self, names, key=None):
        config = self.path("csr.cnf")
        write(config, "[req]\ndistinguished_name=dn\n[dn]\n")
        return openssl("req", "-new", "-key", key or self.key, "-config", config, "-subj", "/", "-addext",
                       "subjectAltName=critical," + names)

    def refused(self, manager, code, csr, identity, token):
        with self.assertRaises(grpc.RpcError) as raised:
            manager.ask(csr, identity, token)
        self.assertEqual(raised.exception.code(), code, raised.exception.details())
        return raised.exception.details()

    def save(self, chain):
        """(leaf, intermediates, roots) as files."""
        paths = [self.path(name) for name in ("leaf.pem", "middle.pem", "roots.pem")]
        for path, text in zip(paths, (chain[0], "".join(chain[1:-1]), chain[-1])):
            write(path, text)
        return paths

    def verify(self, chain):
        leaf, middle, roots = self.save(chain)
        untrusted = ["-untrusted", middle] if read(middle) else []
        for purpose in ("sslserver", "sslclient"):
            openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", roots, *untrusted, leaf)
        return leaf


class IssuingTest(Case):
    def test_an_issued_chain_verifies_and_says_what_a_mesh_leaf_says(self):
        manager = self.start()
        chain = manager.ask(self.csr("URI:" + CART), CART, manager.token("node-a"))
        leaf = self.verify(chain)
        text = openssl("x509", "-in", leaf, "-noout", "-text")
        self.assertRegex(text, r"Subject Alternative Name: critical\s+URI:%s\n" % CART)
        self.assertRegex(text, r"Key Usage: critical\s+Digital Signature")
        self.assertRegex(text, r"Extended Key Usage: \s+TLS Web Server Authentication, TLS Web Client Authentication")
        self.assertIn("CA:FALSE", text)
        self.assertRegex(text, r"Subject: *\n")
        public = openssl("x509", "-in", leaf, "-noout", "-pubkey")
        self.assertEqual(public, openssl("pkey", "-in", self.key, "-pubout"))
        openssl("x509", "-in", leaf, "-noout", "-checkend", str(50 * 60))
        with self.assertRaises(AssertionError):
            openssl("x509", "-in", leaf, "-noout", "-checkend", str(61 * 60))
        short = self.verify(manager.ask(self.csr("URI:" + CART), CART, manager.token("node-a"), seconds=600))
        with self.assertRaises(AssertionError):
            openssl("x509", "-in", short, "-noout", "-checkend", str(11 * 60))

    def test_secrets_are_readable_by_their_owner_only_and_survive_a_restart(self):
        manager = self.start()
        token = manager.token("node-a")
        for path, mode in ((os.path.join(manager.ca, "ca-key.pem"), 0o600), (os.path.join(manager.tokens, "node-a"), 0o600),
                           (manager.tokens, 0o700), (manager.ca, 0o700)):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), mode, path)
        root = read(os.path.join(manager.ca, "root-cert.pem"))
        manager.ask(self.csr("URI:" + CART), CART, token)
        self.assertEqual(manager.stop(), 0)
        log = manager.log()
        self.assertIn("certificate issued", log)
        self.assertIn("stopped", log)
        for secret in (token, read(os.path.join(manager.ca, "ca-key.pem")).splitlines()[1]):
            self.assertNotIn(secret, log)
        again = self.start()
        self.assertEqual(read(os.path.join(again.ca, "root-cert.pem")), root)
        self.verify(again.ask(self.csr("URI:" + CART), CART, token))

    def test_whoever_may_not_have_a_certificate_is_refused_counted_and_written_down(self):
        manager = self.start()
        csr, token, other = self.csr("URI:" + CART), manager.token("node-a"), manager.token("node-b")
        code = grpc.StatusCode
        self.refused(manager, code.UNAUTHENTICATED, csr, CART, None)
        self.refused(manager, code.UNAUTHENTICATED, csr, CART, "0" * 64)
        self.refused(manager, code.UNAUTHENTICATED, csr, CART, token[:-1])
        self.refused(manager, code.PERMISSION_DENIED, csr, CART, other)
        self.refused(manager, code.PERMISSION_DENIED, self.csr("URI:" + USERS), USERS, token)
        self.refused(manager, code.INVALID_ARGUMENT, self.csr("URI:" + USERS), CART, token)
        self.refused(manager, code.INVALID_ARGUMENT, self.csr("URI:%s,DNS:ca.test" % CART), CART, token)
        self.refused(manager, code.INVALID_ARGUMENT, self.csr("URI:%s,URI:%s" % (CART, USERS)), CART, token)
        self.refused(manager, code.PERMISSION_DENIED, self.csr("URI:spiffe://other/ns/shop/sa/cart"), None, token)
        self.refused(manager, code.INVALID_ARGUMENT, "no request", CART, token)
        self.refused(manager, code.INVALID_ARGUMENT, csr.replace("M", "N", 3), CART, token)
        weak = self.path("weak.pem")
        openssl("genrsa", "-out", weak, "1024")
        self.assertIn("weak key", self.refused(manager, code.INVALID_ARGUMENT, self.csr("URI:" + CART, weak), CART, token))
        self.verify(manager.ask(csr, CART, token))
        for reason, count in (("unauthenticated", 3), ("permission_denied", 3), ("invalid_argument", 6), ("internal", 0)):
            self.assertEqual(manager.number('weft_certs_refused_total{reason="%s"}' % reason), count, reason)
        self.assertEqual(manager.number("weft_certs_issued_total"), 1)
        self.assertEqual(manager.log().count("certificate refused"), 12)
        self.assertEqual(manager.log().count("certificate issued"), 1)

    def test_pods_that_come_and_go_change_what_a_node_may_ask_for(self):
        manager = self.start()
        csr, token = self.csr("URI:" + USERS), manager.token("node-a")
        self.refused(manager, grpc.StatusCode.PERMISSION_DENIED, csr, USERS, token)

        def allowed():
            try:
                return bool(manager.ask(csr, USERS, token))
            except grpc.RpcError:
                return False

        self.put_pods(("users", "node-a"), ("orders", "node-new"))
        until("the moved pod's identity", allowed)
        manager.token("node-new")
        self.put_pods(("users", "node-b"))
        until("the end of the moved pod's identity", lambda: not allowed())
        write(os.path.join(manager.manifests, "pods.yaml"), "kind: [broken")
        until("the broken file noticed", lambda: manager.number("weft_certs_broken_manifests") == 1)
        self.verify(manager.ask(csr, USERS, manager.token("node-b")))


class AuthorityTest(Case):
    def make_root(self, name, ends="+3d"):
        """(certificate, key) paths of a root that ends in three days, or ended long ago."""
        config, request, database = self.path("ca.cnf"), self.path("ca.csr"), self.path(name + ".db")
        write(config, "[req]\ndistinguished_name=dn\n[dn]\n[ca]\ndefault_ca=own\n[own]\ndatabase=%s\nnew_certs_dir=%s\n"
                      "default_md=sha256\nrand_serial=yes\npolicy=any\nx509_extensions=ext\n[any]\ncommonName=supplied\n"
                      "[ext]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
                      "subjectKeyIdentifier=hash\n" % (database, self.path("")))
        write(database, "")
        certificate, key = self.path(name + ".pem"), self.path(name + ".key")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request,
                "-subj", "/CN=" + name, "-config", config)
        period = ("-days", "3") if ends == "+3d" else ("-startdate", "20200101000000Z", "-enddate", ends)
        openssl("ca", "-batch", "-selfsign", "-notext", "-config", config, "-keyfile", key, "-in", request, "-out", certificate,
                *period)
        return certificate, key

    def provide(self, **files):
        for name, text in files.items():
            write(os.path.join(self.folder, "ca", name.replace("_", "-") + ".pem"), text)

    def test_a_provided_intermediate_signs(self):
        root, root_key = self.make_root("root")
        key, request, middle = self.path("middle.key"), self.path("middle.csr"), self.path("ca-cert.pem")
        openssl("genrsa", "-out", key, "2048")
        config = self.path("middle.cnf")
        write(config, "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n"
                      "authorityKeyIdentifier=keyid\n")
        openssl("req", "-new", "-key", key, "-subj", "/CN=middle", "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", root, "-CAkey", root_key, "-set_serial", "9", "-days", "2", "-extfile", config,
                "-out", middle)
        self.provide(root_cert=read(root), ca_cert=read(middle), ca_key=read(key), cert_chain=read(middle) + read(root))
        manager = self.start()
        chain = manager.ask(self.csr("URI:" + CART), CART, manager.token("node-a"))
        self.assertEqual(len(chain), 3)
        self.verify(chain)

    def test_a_broken_folder_keeps_the_last_good_state_and_a_whole_one_is_taken(self):
        manager = self.start()
        token, csr = manager.token("node-a"), self.csr("URI:" + CART)
        own_root, own_key = (read(os.path.join(manager.ca, name)) for name in ("root-cert.pem", "ca-key.pem"))
        self.provide(ca_key="-----BEGIN PRIVATE KEY-----\nbroken\n-----END PRIVATE KEY-----\n")
        until("the broken key noticed", lambda: manager.number("weft_certs_authority_stale") == 1)
        self.assertEqual(manager.number('weft_certs_reload_errors_total{folder="ca"}'), 1)
        self.assertIn("its last good state goes on signing", manager.log())
        self.verify(manager.ask(csr, CART, token))
        self.provide(ca_key=own_key)
        until("the key's return noticed", lambda: manager.number("weft_certs_authority_stale") == 0)

        # The root is rotated: announced, switched with both handed out, the old one dropped.
        root, key = self.make_root("next")
        self.provide(next_root_cert=read(root))
        until("both roots handed out", lambda: manager.ask(csr, CART, token)[-1].count("BEGIN") == 2)
        self.verify(manager.ask(csr, CART, token))
        self.provide(previous_root_cert=own_root, ca_key=read(key), ca_cert=read(root), cert_chain="", root_cert=read(root))

        def signed_by_next():
            try:
                leaf = self.save(manager.ask(csr, CART, token))[0]
            except grpc.RpcError:  # the root file is the new one, the serving certificate still the old one
                return False
            return "CN = next" in openssl("x509", "-in", leaf, "-noout", "-issuer")

        until("the new root signing", signed_by_next)
        self.assertEqual(manager.ask(csr, CART, token)[-1].count("BEGIN"), 2)
        for name in ("previous-root-cert.pem", "next-root-cert.pem"):
            os.remove(os.path.join(manager.ca, name))
        until("the old root dropped", lambda: manager.ask(csr, CART, token)[-1].count("BEGIN") == 1)
        self.verify(manager.ask(csr, CART, token))

    def test_an_expired_root_is_reported_and_does_not_stop_a_valid_one(self):
        root, key = self.make_root("good")
        expired, _ = self.make_root("expired", ends="20210101000000Z")
        self.provide(root_cert=read(root), ca_cert=read(root), ca_key=read(key), cert_chain="", previous_root_cert=read(expired))
        manager = self.start()
        self.assertRegex(manager.log(), 'error.*certificate has expired.*kind="root" subject="CN=expired"')
        self.assertRegex(manager.log(), 'warn.*certificate expires soon, rotate it.*kind="root" subject="CN=good"')
        self.assertLess(manager.number("weft_certs_root_expiry_seconds"), 0)
        self.assertEqual(manager.page("/healthz/ready")[0], 200)
        self.verify(manager.ask(self.csr("URI:" + CART), CART, manager.token("node-a")))

    def test_an_expired_authority_is_not_ready_and_signs_nothing(self):
        root, key = self.make_root("expired", ends="20210101000000Z")
        self.provide(root_cert=read(root), ca_cert=read(root), ca_key=read(key), cert_chain="")
        manager = self.start()
        status, text = manager.page("/healthz/ready")
        self.assertEqual(status, 503)
        self.assertIn("the signing certificate expired at", text)
        self.refused(manager, grpc.StatusCode.UNAVAILABLE, self.csr("URI:" + CART), CART, manager.token("node-a"))

    def test_a_folder_that_never_worked_ends_the_start_with_its_fault(self):
        root, key = self.make_root("one")
        _, other = self.make_root("two")
        self.provide(root_cert=read(root), ca_cert=read(root), ca_key=read(other), cert_chain="")
        manager = Manager(self.folder)
        self.assertEqual(manager.stop(), 1)
        self.assertIn("ca-key.pem does not belong to ca-cert.pem", manager.log())


class ProgramTest(Case):
    def test_help_and_usage(self):
        shown = subprocess.run([PROGRAM, "--help"], stdout=subprocess.PIPE, text=True)
        self.assertEqual(shown.returncode, 0)
        for word in ("Examples:", "--listen", "WEFT_CERTS_CA_DIR", "--certificate-lifetime"):
            self.assertIn(word, shown.stdout)
        for wrong in (["--listen", "nowhere"], [], ["--frobnicate"]):
            done = subprocess.run([PROGRAM] + wrong, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 64)
            self.assertTrue(done.stderr)

    def test_a_stop_is_quick_although_nodes_are_connected(self):
        manager = self.start()
        credentials = grpc.ssl_channel_credentials(read(os.path.join(manager.ca, "root-cert.pem")).encode())
        with grpc.secure_channel("127.0.0.1:" + manager.port, credentials) as channel:
            grpc.channel_ready_future(channel).result(LIMIT_S)
            begun = time.monotonic()
            self.assertEqual(manager.stop(), 0)
            self.assertLess(time.monotonic() - begun, 8)


if __name__ == "__main__":
    unittest.main(verbosity=2)
