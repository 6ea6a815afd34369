"""Our gRPC against grpcio, both ways: grpc_interop.py GRPC_PEER. Skipped (77) where Python has no grpc module.

Each way is tried in clear text, over TLS, and through a relay that cuts the bytes into pieces of 1 to 7, so that every
frame and message arrives split."""
import os
import queue
import random
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from concurrent import futures

try:
    import grpc
except ImportError:
    print("skipped: no Python module grpc (Debian: python3-grpcio)")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools"))
from lab_lib.shell import wait_for  # noqa: E402

PEER = sys.argv.pop(1) if len(sys.argv) > 1 else ""
PREFIX = "/weft.test.Peer/"
LARGE = 8 << 20
LIMIT_S = 30
OPTIONS = [("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", 16 << 20),
           ("grpc.use_local_subchannel_pool", 1), ("grpc.so_reuseport", 0)]


def pattern(size):
    return bytes((i * 31 + i // 251) & 255 for i in range(size))


def until(what, condition):
    wait_for(what, condition, LIMIT_S)


class Certificates:
    """A root and a certificate of it for 127.0.0.1, made with the openssl program."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="weft-interop-")
        self.root, self.chain, self.key = (os.path.join(self.folder.name, n) for n in ("root.pem", "chain.pem", "key.pem"))
        root_key, request = os.path.join(self.folder.name, "root.key"), os.path.join(self.folder.name, "request.pem")
        extensions = os.path.join(self.folder.name, "extensions")
        with open(extensions, "w") as out:
            out.write("subjectAltName=IP:127.0.0.1,DNS:peer.test\nextendedKeyUsage=serverAuth\n")
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self.run("req", "-x509", *new_key, "-keyout", root_key, "-out", self.root, "-days", "2", "-subj", "/CN=interop root")
        self.run("req", *new_key, "-keyout", self.key, "-out", request, "-subj", "/CN=peer")
        self.run("x509", "-req", "-in", request, "-CA", self.root, "-CAkey", root_key, "-set_serial", "7", "-days", "1",
                 "-extfile", extensions, "-out", self.chain)

    @staticmethod
    def run(*arguments):
        subprocess.run(("openssl",) + arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def read(self, path):
        with open(path, "rb") as source:
            return source.read()


class Relay:
    """Passes TCP through, cutting the first bytes of each direction into small pieces."""
    CUT_FIRST = 20_000  # the rest goes as it comes: cutting 8 MiB into 4 bytes tells nothing more

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.random = random.Random(5)
        self.sockets = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            self.sockets += [near, far]
            for one, other in ((near, far), (far, near)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.copy, args=(one, other), daemon=True).start()

    def copy(self, source, sink):
        done = 0
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                while data and done < self.CUT_FIRST:
                    size = self.random.randint(1, 7)
                    sink.sendall(data[:size])
                    data, done = data[size:], done + size
                sink.sendall(data)
        except OSError:
            for one in (source, sink):
                one.close()

    def close(self):
        for one in [self.listener] + self.sockets:
            one.close()


class OurServer:
    """grpc_peer as a server, and a grpcio channel to it."""

    def __init__(self, certificates=None, relayed=False):
        tls = [certificates.chain, certificates.key, certificates.root] if certificates else []
        self.process = subprocess.Popen([PEER, "server"] + tls, stdout=subprocess.PIPE, text=True)
        word, port = self.process.stdout.readline().split()
        assert word == "port"
        self.relay = Relay(int(port)) if relayed else None
        target = "127.0.0.1:%d" % (self.relay.port if relayed else int(port))
        if certificates:
            credentials = grpc.ssl_channel_credentials(certificates.read(certificates.root))
            self.channel = grpc.secure_channel(target, credentials, OPTIONS)
        else:
            self.channel = grpc.insecure_channel(target, OPTIONS)

    def unary(self, name, message, **more):
        return self.channel.unary_unary(PREFIX + name)(message, timeout=more.pop("timeout", LIMIT_S), **more)

    def chat(self, name, messages, **more):
        return self.channel.stream_stream(PREFIX + name)(messages, timeout=more.pop("timeout", LIMIT_S), **more)

    def numbers(self):
        return dict(word.split("=") for word in self.unary("Numbers", b"").decode().split())

    def close(self):
        self.channel.close()
        self.process.terminate()
        code = self.process.wait(LIMIT_S)
        self.process.stdout.close()
        if self.relay:
            self.relay.close()
        assert code == 0, "grpc_peer server ended with %d" % code


def replies(outbox):
    """An iterator over what is put into a queue, ended by None."""
    return iter(outbox.get, None)


class ServerCases:
    """grpcio asks, we answer."""
    tls, relayed = False, False

    def setUp(self):
        self.server = OurServer(CERTIFICATES if self.tls else None, self.relayed)
        self.addCleanup(self.server.close)

    def refused(self, call):
        with self.assertRaises(grpc.RpcError) as raised:
            call()
        return raised.exception

    def test_unary_calls_carry_messages_up_to_eight_mebibytes(self):
        for message in (b"", b"hello", pattern(70_000), pattern(LARGE)):
            self.assertEqual(self.server.unary("Echo", message), message)
        error = self.refused(lambda: self.server.unary("Echo", bytes(LARGE + 1)))
        self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(self.server.numbers()["connections"], "1")

    def test_messages_stream_each_way_and_both_ways(self):
        collect = self.server.channel.stream_unary(PREFIX + "Collect")
        self.assertEqual(collect(iter([pattern(10_000)] * 100), timeout=LIMIT_S), b"100 1000000")
        spread = self.server.channel.unary_stream(PREFIX + "Spread")
        self.assertEqual([len(m) for m in spread(b"300 5000", timeout=LIMIT_S)], [5000] * 300)
        self.assertEqual(list(spread(b"0 1", timeout=LIMIT_S)), [])
        outbox = queue.Queue()
        call = self.server.chat("Chat", replies(outbox))
        for i in range(100):
            outbox.put(pattern(i * 997))
            self.assertEqual(next(call), pattern(i * 997))
        outbox.put(None)
        self.assertEqual(list(call), [])
        self.assertEqual(call.code(), grpc.StatusCode.OK)

    def test_errors_arrive_with_code_and_text_before_and_after_messages(self):
        error = self.refused(lambda: self.server.unary("Refuse", b"x"))
        self.assertEqual((error.code(), error.details()), (grpc.StatusCode.PERMISSION_DENIED, "not for you: 100% \u00e9"))
        self.assertEqual(self.refused(lambda: self.server.unary("None", b"x")).code(), grpc.StatusCode.UNIMPLEMENTED)
        call = self.server.channel.unary_stream(PREFIX + "FailLate")(b"x", timeout=LIMIT_S)
        self.assertEqual(next(call), b"only this")
        error = self.refused(lambda: next(call))
        self.assertEqual((error.code(), error.details()), (grpc.StatusCode.ABORTED, "enough"))

    def test_a_deadline_ends_the_call_on_both_sides(self):
        outbox = queue.Queue()
        call = self.server.chat("Silent", replies(outbox), timeout=0.3)
        error = self.refused(lambda: next(call))
        self.assertEqual(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        until("our side noticing the deadline", lambda: self.server.numbers()["given_up"] == "1")
        outbox.put(None)

    def test_a_cancelled_call_ends_and_the_connection_goes_on(self):
        outbox = queue.Queue()
        call = self.server.chat("Silent", replies(outbox))
        outbox.put(b"x")
        # A call that grpcio gives up while it still connects is reset on the wire before it began, which ends the connection.
        until("the call to reach our side", lambda: self.server.numbers()["silent"] == "1")
        call.cancel()
        self.assertEqual(self.refused(lambda: next(call)).code(), grpc.StatusCode.CANCELLED)
        outbox.put(None)
        outbox = queue.Queue()
        call = self.server.chat("Chat", replies(outbox))
        outbox.put(b"x")
        self.assertEqual(next(call), b"x")
        call.cancel()
        outbox.put(None)
        self.assertEqual(self.server.unary("Echo", b"after"), b"after")
        self.assertEqual(self.server.numbers()["connections"], "1")

    def test_a_call_outlives_goaway_and_the_next_uses_a_new_connection(self):
        outbox = queue.Queue()
        call = self.server.chat("GoAway", replies(outbox))
        self.assertEqual(next(call), b"leaving")
        until("a second connection", lambda: self.server.numbers()["connections"] == "2")
        for i in range(20):
            outbox.put(pattern(i * 1000))
            self.assertEqual(next(call), pattern(i * 1000))
        outbox.put(None)
        self.assertEqual(list(call), [])
        self.assertEqual(call.code(), grpc.StatusCode.OK)
        self.assertEqual(self.server.unary("Echo", b"after"), b"after")

    def test_many_calls_share_one_connection(self):
        with futures.ThreadPoolExecutor(16) as pool:
            asked = [pattern(i * 313) for i in range(150)]
            self.assertEqual(list(pool.map(lambda m: self.server.unary("Echo", m), asked)), asked)
        self.assertEqual(self.server.numbers()["connections"], "1")


class TheirServer:
    """grpcio as a server with the same methods, bytes in and out."""

    def __init__(self, certificates=None, port=0):
        self.certificates = certificates
        self.cancelled = threading.Event()
        self.stopped = None
        self.after = None
        self.server, self.port = self.start(port)

    def start(self, port):
        # so_reuseport off would refuse a second server on the port while the first still drains.
        server = grpc.server(futures.ThreadPoolExecutor(8), options=OPTIONS[:-1] + [("grpc.so_reuseport", 1)])
        unary, stream_in = grpc.unary_unary_rpc_method_handler, grpc.stream_unary_rpc_method_handler
        stream_out, both = grpc.unary_stream_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("weft.test.Peer", {
            "Echo": unary(lambda message, context: message), "Chat": both(self.chat), "Collect": stream_in(self.collect),
            "Spread": stream_out(self.spread), "Refuse": unary(self.refuse), "FailLate": stream_out(self.fail_late),
            "Silent": unary(self.silent), "GoAway": both(self.go_away)}),))
        address = "127.0.0.1:%d" % port
        if self.certificates:
            pair = (self.certificates.read(self.certificates.key), self.certificates.read(self.certificates.chain))
            bound = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            bound = server.add_insecure_port(address)
        server.start()
        return server, bound

    def chat(self, messages, context):
        context.add_callback(lambda: None if context.code() else self.cancelled.set())
        yield from messages

    def collect(self, messages, context):
        sizes = [len(message) for message in messages]
        return b"%d %d" % (len(sizes), sum(sizes))

    def spread(self, message, context):
        count, size = (int(word) for word in message.split())
        for _ in range(count):
            yield bytes(size)

    def refuse(self, message, context):
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you: 100% \u00e9")

    def fail_late(self, message, context):
        yield b"only this"
        context.abort(grpc.StatusCode.ABORTED, "enough")

    def silent(self, message, context):
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait(LIMIT_S)
        self.cancelled.set()
        return b""

    def go_away(self, messages, context):
        yield b"leaving"
        self.stopped = self.server.stop(LIMIT_S)  # GOAWAY now; calls under way may finish
        self.after, _ = self.start(self.port)
        yield from messages

    def close(self):
        for server in (self.server, self.after):
            if server:
                server.stop(0).wait()


class ClientCases:
    """We ask, grpcio answers."""
    tls, relayed = False, False

    def setUp(self):
        self.server = TheirServer(CERTIFICATES if self.tls else None)
        self.addCleanup(self.server.close)
        self.relay = Relay(self.server.port) if self.relayed else None
        if self.relay:
            self.addCleanup(self.relay.close)

    def play(self, scenario):
        port = self.relay.port if self.relay else self.server.port
        roots = [CERTIFICATES.root] if self.tls else []
        done = subprocess.run([PEER, "client", str(port), scenario] + roots, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S)
        self.assertEqual(done.returncode, 0)
        return [line.rstrip() for line in done.stdout.splitlines()]

    def test_unary_calls_carry_messages_up_to_eight_mebibytes(self):
        self.assertEqual(self.play("unary"), ["status 0", "message 5 same"])
        self.assertEqual(self.play("empty"), ["status 0", "message 0 same"])
        self.assertEqual(self.play("large"), ["status 0", "message %d same" % LARGE])
        self.assertTrue(self.play("too-large")[1].startswith("status 8 "))

    def test_messages_stream_each_way_and_both_ways(self):
        self.assertEqual(self.play("collect"), ["received 1 messages, 11 bytes", "status 0"])
        self.assertEqual(self.play("spread"), ["received 300 messages, 1500000 bytes", "status 0"])
        self.assertEqual(self.play("chat"), ["echoed 100", "received 0 messages, 0 bytes", "status 0"])

    def test_errors_arrive_with_code_and_text_before_and_after_messages(self):
        self.assertEqual(self.play("refuse")[0], "status 7 not for you: 100% \u00e9")
        self.assertTrue(self.play("unknown")[0].startswith("status 12 "))
        self.assertEqual(self.play("fail-late"), ["received 1 messages, 9 bytes", "status 10 enough"])

    def test_a_deadline_ends_the_call_on_both_sides(self):
        self.assertTrue(self.play("deadline")[0].startswith("status 4 "))
        self.assertTrue(self.server.cancelled.wait(LIMIT_S))

    def test_a_cancelled_call_ends_and_the_connection_goes_on(self):
        facts = self.play("cancel")
        self.assertEqual(facts[:2], ["echoed 1", "received 0 messages, 0 bytes"])
        self.assertTrue(facts[2].startswith("status 1 "))
        self.assertEqual(facts[3:], ["status 0", "message 5 same"])
        self.assertTrue(self.server.cancelled.wait(LIMIT_S))

    def test_a_call_outlives_goaway_and_the_next_uses_a_new_connection(self):
        self.assertEqual(self.play("go-away"), ["first leaving", "received 0 messages, 0 bytes", "status 0", "status 0",
                                                "message 5 same"])

    def test_nobody_listening_is_unavailable(self):
        self.server.close()
        self.assertTrue(self.play("unary")[0].startswith("status 14 "))


def variants(cases, name):
    for suffix, tls, relayed in (("ClearText", False, False), ("Tls", True, False), ("Split", False, True), ("TlsSplit", True, True)):
        globals()[name + suffix] = type(name + suffix, (cases, unittest.TestCase), {"tls": tls, "relayed": relayed})


variants(ServerCases, "OurServerTheirClient")
variants(ClientCases, "OurClientTheirServer")

if __name__ == "__main__":
    CERTIFICATES = Certificates()
    unittest.main(verbosity=2)
