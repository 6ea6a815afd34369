"""A member of the mesh by hand: a TLS connection to a pod's tunnel port with a certificate of its own, and HTTP/2 frames on it,
honest ones and others."""
import ssl

import wire
from harness import expect, fabric, in_netns, netns_path
from suite_failures import certificate

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW = 4  # of SETTINGS
CANCEL = (8).to_bytes(4, "big")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
TUNNEL_PORT = 15008


def frame(kind, stream=0, payload=b"", flags=0):
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def text(value):
    """A string of a header block, below 127 bytes (RFC 7541, 5.2)."""
    return bytes((len(value),)) + value


def connect_block(authority):
    """The fields of a request for a tunnel, as literals that no table remembers (RFC 7541, 6.2.2)."""
    return b"\x02" + text(b"CONNECT") + b"\x01" + text(authority.encode())


def connect(stream, authority):
    return frame(HEADERS, stream, connect_block(authority), END_HEADERS)


def context_of(mesh, name):
    """What TLS needs to be the account `name` of namespace staging; None: somebody without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if name:
        context.load_cert_chain(*certificate(mesh, name, ["spiffe://cluster.local/ns/staging/sa/" + name]))
    return context


def place(mesh, caller):
    """The path of a namespace that no proxy captures: a pod outside the mesh, or a node by its name."""
    return netns_path(mesh.lab.prefix + caller if caller in fabric.NODES else mesh.netns(caller))


class Peer:
    """Settings have been exchanged once it is made. Raises AssertionError when the other side ends the connection first."""

    def __init__(self, mesh, server, context, caller="outside/plain"):
        address = (mesh.ips(server)[0], TUNNEL_PORT)
        self.data = b""
        raw = in_netns(place(mesh, caller), lambda: wire.dial(address))
        try:
            self.sock = context.wrap_socket(raw)
            self.sock.sendall(PREFACE + frame(WINDOW_UPDATE, 0, (1 << 24).to_bytes(4, "big")))
            settings = self.read_until(SETTINGS)
            self.sock.sendall(frame(SETTINGS, 0, b"", ACK))  # they hold from here on
        except (OSError, AssertionError):
            raw.close()
            raise
        self.settings = {int.from_bytes(settings[i:i + 2], "big"): int.from_bytes(settings[i + 2:i + 6], "big")
                         for i in range(0, len(settings), 6)}
        self.next_stream = 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def stream(self):
        """The number of a new stream."""
        self.next_stream += 2
        return self.next_stream - 2

    def send(self, data):
        """Whether the other side still takes it."""
        try:
            self.sock.sendall(data)
            return True
        except OSError:
            return False

    def next_frame(self):
        """(kind, flags, stream, payload) of the next frame; None at the connection's end."""
        while True:
            size = int.from_bytes(self.data[:3], "big") if len(self.data) >= 9 else 1 << 24
            if len(self.data) >= 9 + size:
                kind, flags, stream = self.data[3], self.data[4], int.from_bytes(self.data[5:9], "big")
                payload, self.data = self.data[9:9 + size], self.data[9 + size:]
                return kind, flags, stream, payload
            part = self.sock.recv(65536)
            if not part:
                return None
            self.data += part

    def read_until(self, kind, stream=None):
        """The payload of the next frame of that kind."""
        while True:
            got = self.next_frame()
            expect(got, "the tunnel connection ended without a frame of kind %d" % kind)
            if got[0] == kind and stream in (None, got[2]):
                return got[3]

    def end(self):
        """Reads to the end: the error code of the last GOAWAY, None when it was cut without one."""
        code = None
        try:
            while True:
                got = self.next_frame()
                if not got:
                    return code
                if got[0] == GOAWAY:
                    code = int.from_bytes(got[3][4:8], "big")
        except OSError:
            return code

    def open(self, authority):
        """A tunnel; returns its stream. Anything but a 200 is a failure."""
        stream = self.stream()
        self.sock.sendall(connect(stream, authority))
        headers = self.read_until(HEADERS, stream)
        expect(headers[:1] == b"\x88", "a tunnel to %s was refused: %r" % (authority, headers))  # the static table's ":status 200"
        return stream

    def get(self, stream):
        """A GET through an open tunnel is answered."""
        self.sock.sendall(frame(DATA, stream, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"))
        answer = self.read_until(DATA, stream)
        expect(answer.startswith(b"HTTP/1.1 200"), "through the tunnel came %r" % answer[:100])
