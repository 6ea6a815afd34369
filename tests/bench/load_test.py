"""The load generator over loopback: every mode moves what it says, and a server that lies is found out.

usage: load_test.py PATH_OF_LOAD"""
import json
import socket
import struct
import subprocess
import sys
import threading
import unittest

LOAD = sys.argv.pop()
LIMIT_S = 60


class Client:
    """One run of a client mode, step by step."""

    def __init__(self, port, mode, *options):
        self.child = subprocess.Popen([LOAD, mode, "127.0.0.1", str(port), *options], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)

    def line(self):
        return json.loads(self.child.stdout.readline())

    def go(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return self.line()

    def end(self):
        self.child.communicate(timeout=LIMIT_S)
        return self.child.returncode


def lie(listener, reply):
    """Accepts requests and then answers the same to whatever comes, until the listener is closed."""
    def serve(peer):
        with peer:
            try:
                peer.recv(16, socket.MSG_WAITALL)
                peer.sendall(b"k")
                peer.recv(1)
                peer.sendall(reply)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):
                    pass
            except OSError:
                pass  # the client has seen enough

    while True:
        try:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
        except OSError:
            return


class LoadTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = subprocess.Popen([LOAD, "serve", "127.0.0.1", "0"], stdout=subprocess.PIPE, text=True)
        cls.port = int(cls.server.stdout.readline().split()[1])

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        cls.server.wait()
        cls.server.stdout.close()

    def run_mode(self, mode, *options):
        client = Client(self.port, mode, *options)
        ready = client.line()
        done = client.go()
        self.assertEqual(client.end(), 0, (ready, done))
        self.assertEqual(done["errors"], 0)
        return ready, done

    def test_transfers_arrive_whole_in_both_directions(self):
        for mode in ("up", "down"):
            for connections in (1, 5):
                ready, done = self.run_mode(mode, "--connections", str(connections), "--bytes", "50000000")
                self.assertEqual((ready["open"], done["bytes"]), (connections, 50_000_000))

    def test_a_check_compares_every_byte_and_ends_by_half_close(self):
        self.assertEqual(self.run_mode("check", "--bytes", "7000001")[1]["bytes"], 7_000_001)

    def test_round_trips_are_counted(self):
        for connections, size in ((1, 1), (8, 1024), (3, 100_000)):
            done = self.run_mode("ping", "--connections", str(connections), "--size", str(size), "--count", "300")[1]
            self.assertEqual(done["count"], 300)
            self.assertLessEqual(0 < done["p50_us"] and done["p50_us"], done["p99_us"])

    def test_paced_round_trips_take_at_least_their_time(self):
        done = self.run_mode("ping", "--connections", "4", "--size", "64", "--count", "100", "--rate", "1000")[1]
        self.assertEqual((done["count"], done["errors"]), (100, 0))
        self.assertGreaterEqual(done["seconds"], 0.095)

    def test_short_connections_are_counted(self):
        self.assertEqual(self.run_mode("churn", "--connections", "4", "--count", "200")[1]["count"], 200)

    def test_paced_connections_take_at_least_their_time(self):
        done = self.run_mode("churn", "--connections", "4", "--count", "50", "--rate", "500")[1]
        self.assertEqual((done["count"], done["errors"]), (50, 0))
        self.assertGreaterEqual(done["seconds"], 0.09)

    def test_idle_connections_stay_and_still_answer(self):
        ready, done = self.run_mode("idle", "--connections", "50")
        self.assertEqual((ready["open"], done["dead"]), (50, 0))

    def test_what_cannot_be_reached_is_an_error(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        for mode in ("up", "down", "check", "ping", "churn", "idle"):
            client = Client(port, mode)
            self.assertLess(client.line()["open"], 1)
            self.assertGreater(client.go()["errors"], 0)
            self.assertEqual(client.end(), 2)

    def test_a_server_that_answers_wrongly_is_found_out(self):
        wrong = {"up": struct.pack("<QQ", 1 << 20, 0), "down": b"x" * (1 << 20), "check": b"y" * 100, "ping": b"z",
                 "churn": b"z", "idle": b"z"}
        for mode, reply in wrong.items():
            with socket.create_server(("127.0.0.1", 0)) as listener:
                threading.Thread(target=lie, args=(listener, reply), daemon=True).start()
                client = Client(listener.getsockname()[1], mode)
                client.line()
                done = client.go()
                self.assertGreater(done["errors"], 0, (mode, done))
                self.assertEqual(client.end(), 2)

    def test_wrong_use_exits_64(self):
        for argv in ([], ["up", "127.0.0.1"], ["fly", "127.0.0.1", "1"], ["up", "127.0.0.1", "1", "--count", "-1"],
                     ["up", "127.0.0.1", "1", "--speed", "1"]):
            done = subprocess.run([LOAD, *argv], stderr=subprocess.DEVNULL, timeout=LIMIT_S)
            self.assertEqual(done.returncode, 64)


if __name__ == "__main__":
    unittest.main()
