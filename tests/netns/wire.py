"""Connections whose both ends this process holds, one in the caller's namespace and one in the server's, and what is sent
through them, hashed at both ends. The proxies are in between."""
import hashlib
import os
import socket
import threading

from harness import LabError, expect, in_netns, netns_path

MIB = 1 << 20
STALL_LIMIT_S = 20  # nothing may move for longer
PIECE = os.urandom(MIB + 4099)  # its length is no multiple of any buffer's


def listen(mesh, server, family=4, backlog=1024, kind=socket.SOCK_STREAM):
    """A socket that listens on every address of a pod, at a port the kernel chose."""
    def make():
        sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind)
        sock.bind(("" if family == 4 else "::", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen(backlog)
        sock.settimeout(STALL_LIMIT_S)
        return sock

    return in_netns(netns_path(mesh.netns(server)), make)


def dial(address):
    """A connection from where the calling thread is."""
    sock = socket.create_connection(address, STALL_LIMIT_S)
    sock.settimeout(STALL_LIMIT_S)
    return sock


def connect(mesh, caller, server, family=4):
    """(the caller's end, the server's end)."""
    listener = listen(mesh, server, family)
    try:
        near = mesh.connect(caller, mesh.ips(server)[0 if family == 4 else 1], listener.getsockname()[1], STALL_LIMIT_S)
        near.settimeout(STALL_LIMIT_S)
        far, _ = listener.accept()
        far.settimeout(STALL_LIMIT_S)
        return near, far
    except socket.timeout:
        raise LabError("no connection from %s to %s" % (caller, server))
    finally:
        listener.close()


def told_of_end(sock, limit_s):
    """Whether the other side ends the connection in that time, in order or not."""
    sock.settimeout(limit_s)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True
    except socket.timeout:
        return False


def send(sock, size):
    """Sends that many bytes; returns their hash."""
    digest, left, view = hashlib.blake2b(), size, memoryview(PIECE)
    while left:
        part = view[:min(left, len(view))]
        sock.sendall(part)
        digest.update(part)
        left -= len(part)
    return digest.hexdigest()


def send_until_broken(sock):
    """What sending came to; a socket that nothing moves through for long is none that was told."""
    sock.settimeout(60)
    try:
        while True:
            send(sock, MIB)
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    except socket.timeout:
        return "nothing"


def receive(sock, size=None):
    """Receives that many bytes, or to the end; returns (count, hash)."""
    digest, count = hashlib.blake2b(), 0
    while size is None or count < size:
        part = sock.recv(min(MIB, size - count) if size is not None else MIB)
        if not part:
            break
        digest.update(part)
        count += len(part)
    return count, digest.hexdigest()


class Task:
    """A function on a thread of its own; result() raises what it raised."""

    def __init__(self, function, *args):
        self.value = self.problem = None
        self.thread = threading.Thread(target=self._run, args=(function,) + args, daemon=True)
        self.thread.start()

    def _run(self, function, *args):
        try:
            self.value = function(*args)
        except BaseException as problem:  # handed to result()
            self.problem = problem

    def result(self, limit_s=60):
        self.thread.join(limit_s)
        if self.thread.is_alive():
            raise AssertionError("a transfer stands still")
        if self.problem:
            raise AssertionError("a transfer broke: %r" % self.problem)
        return self.value


def send_and_finish(sock, size):
    digest = send(sock, size)
    sock.shutdown(socket.SHUT_WR)
    return digest


def whole(sent, size, got, what):
    expect(got == (size, sent), "%s: %d of %d bytes came, %s" % (what, got[0], size,
                                                                 "whole" if got[1] == sent else "not what was sent"))


def both_ways(near, far, size, what):
    """Sends `size` bytes both ways at once, ends each way with a FIN, and checks both. Returns the bytes carried."""
    tasks = [Task(send_and_finish, near, size), Task(send_and_finish, far, size), Task(receive, near), Task(receive, far)]
    there, back, got_near, got_far = [task.result() for task in tasks]
    whole(there, size, got_far, what + ", there")
    whole(back, size, got_near, what + ", back")
    return 2 * size
