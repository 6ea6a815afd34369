#!/usr/bin/python3
"""The application of a lab pod: an HTTP server that answers as JSON who it is, what it received and who called.

    /held            answers nothing until the caller is gone
    /status/NNN      answers with that status
    /bytes/N         answers N bytes (at most 64 MiB)
    /call/NAME/PATH  asks http://NAME/PATH itself, handing on user-type and authorization, and adds that answer

Usage: pod_app.py PORT[,PORT...] READY_DESCRIPTOR; who it is comes from POD_NAME, POD_NAMESPACE, SERVICE and VERSION.
Listens on IPv4 and IPv6. Writes a byte to the descriptor once every port accepts connections."""
import http.client
import json
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WHO = {key: os.environ.get(key.upper(), "") for key in ("service", "version", "pod_name", "pod_namespace")}
HANDED_ON = ("user-type", "authorization")
CALL_LIMIT_S = 10
BYTES_MAX = 64 << 20


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 600
    wbufsize = -1  # one segment for head and body

    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(min(length, BYTES_MAX))
        status = 200
        reply = {"service": WHO["service"], "version": WHO["version"], "pod": WHO["pod_name"],
                 "namespace": WHO["pod_namespace"], "method": self.command, "path": self.path,
                 "headers": {k.lower(): v for k, v in self.headers.items()}, "received": len(body),
                 "peer": self.client_address[0].removeprefix("::ffff:"), "peer_port": self.client_address[1]}
        path = self.path.split("?")[0]
        if path == "/held":
            return self.hold()
        if path.startswith("/status/") and path[8:].isdigit() and 200 <= int(path[8:]) <= 599:
            status = int(path[8:])
        elif path.startswith("/bytes/") and path[7:].isdigit():
            return self.send(200, b"x" * min(int(path[7:]), BYTES_MAX), "application/octet-stream")
        elif path.startswith("/call/"):
            status, reply["answer"] = self.call(path[6:])
        self.send(status, (json.dumps(reply) + "\n").encode(), "application/json")

    def hold(self):
        self.close_connection = True
        try:
            self.rfile.read(1)
        except OSError:
            pass  # gone by a reset

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = answer

    def send(self, status, data, kind):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(0 if status in (204, 304) else len(data)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(data)
        self.wfile.flush()

    def call(self, target):
        host, _, path = target.partition("/")
        connection = http.client.HTTPConnection(host, timeout=CALL_LIMIT_S)
        try:
            connection.request("GET", "/" + path, headers={k: self.headers[k] for k in HANDED_ON if k in self.headers})
            got = connection.getresponse()
            text = got.read().decode(errors="replace")
            return got.status, json.loads(text) if text.startswith("{") else text
        except (OSError, http.client.HTTPException) as problem:
            return 502, "%s: %s" % (type(problem).__name__, problem)
        finally:
            connection.close()

    def log_message(self, form, *args):
        pass


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 1024
    daemon_threads = True

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def handle_error(self, request, client_address):
        pass  # a caller that went away is no news here


def main():
    ports, ready = [int(p) for p in sys.argv[1].split(",")], int(sys.argv[2])
    servers = [Server(("::", port), Handler) for port in ports]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    os.write(ready, b"1")
    os.close(ready)
    servers[0].serve_forever()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
