"""A host that misbehaves: disks that are full, clocks that jump."""
import datetime
import os
import struct

import wire
from aftermath import Aftermath, kill, restart
from harness import LabError, Skip, case, evidence, expect, fabric, programs, wait_for
from lab_lib.shell import run
from suite_admin import dump
from suite_failures import LATECOMER

SCENARIO = "policies"
DAY_S = 86400
YEAR_S = 366 * DAY_S
CALLER, SERVER = "production/client", "production/httpbin"
URL = "http://httpbin.production/"


class SmallDisk:
    """A file system of its own below a folder, that can be filled and emptied."""

    def __init__(self, folder, size="1m"):
        os.makedirs(folder, exist_ok=True)
        run(["mount", "-t", "tmpfs", "-o", "size=%s,mode=0700" % size, "weft-small", folder])
        self.folder, self.filler = folder, os.path.join(folder, "filler")

    def fill(self):
        with open(self.filler, "ab", buffering=0) as handle:
            for piece in (65536, 512, 1):
                try:
                    while True:
                        handle.write(b"\0" * piece)
                except OSError:
                    pass

    def empty(self):
        os.unlink(self.filler)

    def remove(self):
        run(["umount", "--lazy", self.folder], check=False)


@case("a full disk under the agent's state: no pod of the mesh starts, nobody else notices, and with room it starts")
def full_state(mesh):
    after = Aftermath(mesh, "full-state")
    kill(mesh, "weft-agent on node-a")
    disk = SmallDisk(mesh.lab.programs().agent_run("node-a"))
    try:
        restart(mesh, "weft-agent on node-a")
        after.check("the agent moved to a small disk")
        disk.fill()
        try:
            mesh.apply(LATECOMER % "production")
        except LabError as problem:
            expect("No space left" in str(problem), "the pod was refused without naming the disk: %s" % problem)
        else:
            raise AssertionError("a pod started whose enrolment cannot be remembered")
        mesh.eventually(CALLER, URL, 200, headers={"x-token": after.token()})
        disk.empty()
        mesh.apply()
        mesh.eventually("production/latecomer", URL, 200, headers={"x-token": after.token()})
        mesh.reset()
        after.check("the disk was full")
    finally:
        kill(mesh, "weft-agent on node-a")
        disk.remove()
        restart(mesh, "weft-agent on node-a")
    after.check("the agent moved back")
    return after.close()


@case("a full disk under the logs: traffic goes on, and with room the log does")
def full_logs(mesh):
    after = Aftermath(mesh, "full-logs")
    name, log = "ztunnel on node-a", os.path.join(mesh.lab.folder, "node-a", "ztunnel.log")
    disk = SmallDisk(os.path.join(mesh.lab.folder, "node-a", "small"))
    kept = log + ".kept"
    os.rename(log, kept)
    os.symlink(os.path.join(disk.folder, "ztunnel.log"), log)
    try:
        kill(mesh, name)
        restart(mesh, name)
        disk.fill()
        for got in mesh.lab.ask(CALLER, [{"url": URL, "count": 20, "headers": {"x-token": after.token()}}]):
            expect(got["outcome"] == 200, "while the log cannot be written: %s" % got)
        after.check("the log's disk was full")
        disk.empty()
        logs = evidence.Logs(mesh.lab)
        mesh.eventually(CALLER, URL, 200, headers={"x-token": after.token()})
        logs.wait_line("a connection after the disk had room again", lambda node, f: f.get("direction") == "outbound" and
                       node == "node-a")
    finally:
        kill(mesh, name)
        os.unlink(log)
        os.rename(kept, log)
        disk.remove()
        restart(mesh, name)
    after.check("the log moved back")
    return after.close()


@case("a full disk under the authority: it starts on it, signs, and a ztunnel that starts anew gets its certificates")
def full_authority(mesh):
    after = Aftermath(mesh, "full-authority")
    paths = mesh.lab.programs()
    kill(mesh, "weft-certs on control")
    kept = paths.ca_folder + ".kept"
    os.rename(paths.ca_folder, kept)
    disk = SmallDisk(paths.ca_folder)
    try:
        run(["cp", "-a", kept + "/.", paths.ca_folder])
        disk.fill()
        restart(mesh, "weft-certs on control")
        kill(mesh, "ztunnel on node-a")
        restart(mesh, "ztunnel on node-a")
        after.check("the authority's disk was full")
        disk.empty()
    finally:
        if mesh.lab.process("weft-certs on control"):
            kill(mesh, "weft-certs on control")
        disk.remove()
        os.rmdir(paths.ca_folder)
        os.rename(kept, paths.ca_folder)
        restart(mesh, "weft-certs on control")
    after.check("the authority moved back")
    return after.close()


# ------------------------------------------------------------------ clock
class Clock:
    """Programs started from now on have a wall clock that set() moves."""

    def __init__(self, mesh):
        with open(programs.find(mesh.lab.data["build"], "ztunnel"), "rb") as handle:
            if b"ld-linux" not in handle.read(4096):
                raise Skip("the programs are static, so their clock cannot be moved alone")
        folder = os.path.join(mesh.lab.folder, "control")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clock_shim.c")
        shim, self.path = os.path.join(folder, "clock_shim.so"), os.path.join(folder, "clock")
        run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, source])
        self.set(0)
        self.env = {"LD_PRELOAD": shim, "WEFT_TEST_CLOCK": self.path}

    def set(self, seconds):
        with open(self.path, "r+b" if os.path.exists(self.path) else "wb") as handle:
            handle.write(struct.pack("q", seconds))


def valid_at(mesh, node, offset):
    """Every certificate that a node's ztunnel holds is valid at the time that its clock shows."""
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset)
    leaves = [held["certChain"][0] for held in dump(mesh, node)["certificates"] if held["certChain"]]
    return leaves and all(datetime.datetime.fromisoformat(leaf["validFrom"].replace("Z", "+00:00")) <= now <
                          datetime.datetime.fromisoformat(leaf["expirationTime"].replace("Z", "+00:00")) for leaf in leaves)


def restart_with(mesh, names, env):
    mesh.lab.env = env
    for name in names:
        kill(mesh, name)
        restart(mesh, name)
    mesh.lab.env = {}


def echoes(near, far, text):
    near.sendall(text)
    expect(far.recv(100) == text, "an open connection no longer carries bytes")
    far.sendall(text)
    expect(near.recv(100) == text, "an open connection no longer carries bytes back")


@case("one node's clock a year ahead: new handshakes fail closed, what is open goes on; back again everything works")
def clock_of_one(mesh):
    clock = Clock(mesh)
    after = Aftermath(mesh, "clock-one")
    name = ["ztunnel on node-a"]
    try:
        restart_with(mesh, name, clock.env)
        after.check("ztunnel on node-a got a clock of its own")
        near, far = wire.connect(mesh, CALLER, SERVER)
        with near, far:
            clock.set(YEAR_S)
            echoes(near, far, b"a year later")
            # To a peer it has no tunnel to, it must make a connection and cannot.
            address = mesh.ips("staging/tester")[0]
            got = mesh.ask(CALLER, "http://%s:8080/" % address, headers={"x-token": after.token()}, limit_s=20)
            expect(got["outcome"] in ("closed", "timeout"), "a certificate of last year was good enough: %s" % got)
            clock.set(0)
            mesh.eventually(CALLER, "http://%s:8080/" % address, 200, limit_s=40, headers={"x-token": after.token()})
            echoes(near, far, b"and back")
        after.check("the clock of node-a went a year ahead and back")
        clock.set(-YEAR_S)
        mesh.ask(CALLER, URL, headers={"x-token": after.token()}, limit_s=5)
        clock.set(0)
        after.check("the clock of node-a went a year back and forth")
    finally:
        restart_with(mesh, name, {})
    after.check("ztunnel on node-a got its old clock")
    return after.close()


@case("every clock a year ahead, and back: certificates are renewed by the authority's new time, and traffic goes on")
def clock_of_all(mesh):
    clock = Clock(mesh)
    after = Aftermath(mesh, "clock-all")
    names = ["weft-certs on control", "ztunnel on node-a", "ztunnel on node-b"]
    try:
        restart_with(mesh, names, clock.env)
        after.check("all programs got a clock of their own")
        near, far = wire.connect(mesh, CALLER, SERVER)
        with near, far:
            for offset, what, fresh_peer in ((YEAR_S, "a year ahead", "staging/tester"), (0, "back", "trusted/friend")):
                clock.set(offset)
                echoes(near, far, what.encode())
                for node in fabric.NODES:
                    wait_for("certificates of %s that are valid %s" % (node, what), lambda: valid_at(mesh, node, offset), 40)
                mesh.eventually(CALLER, "http://%s:8080/" % mesh.ips(fresh_peer)[0], 200, limit_s=40,
                                headers={"x-token": after.token()})
                after.check("every clock went " + what)
    finally:
        restart_with(mesh, names, {})
    after.check("all programs got their old clock")
    return after.close()


@case("no authority for a day: with its certificates run out a ztunnel makes no new tunnel, what is open goes on, nothing goes past the "
      "mesh; with the authority back everything works")
def authority_away(mesh):
    clock = Clock(mesh)
    after = Aftermath(mesh, "authority-away")
    authority = "weft-certs on control"
    names = [authority, "ztunnel on node-a", "ztunnel on node-b"]
    try:
        restart_with(mesh, names, clock.env)
        after.check("all programs got a clock of their own")
        near, far = wire.connect(mesh, CALLER, SERVER)
        with near, far:
            kill(mesh, authority)
            clock.set(DAY_S)
            echoes(near, far, b"a day later")
            for node in fabric.NODES:
                expect(not valid_at(mesh, node, DAY_S), "certificates of %s outlive a day without an authority" % node)
            peers = [("http://%s:8080/" % mesh.ips(pod)[0], pod) for pod in ("staging/tester", "trusted/friend")]
            for url, pod in peers:
                got = mesh.ask(CALLER, url, headers={"x-token": after.token()}, limit_s=20)
                expect(got["outcome"] in ("closed", "timeout"), "%s was reached with certificates that ran out: %s" % (pod, got))
            echoes(near, far, b"still")
            mesh.lab.env = clock.env
            restart(mesh, authority)
            mesh.lab.env = {}
            for node in fabric.NODES:
                wait_for("new certificates of " + node, lambda: valid_at(mesh, node, DAY_S), 60)
            for url, _ in peers:
                mesh.eventually(CALLER, url, 200, limit_s=40, headers={"x-token": after.token()})
            echoes(near, far, b"and on")
        after.check("the authority was away for a day")
    finally:
        restart_with(mesh, [name for name in names if mesh.lab.process(name)], {})
        restart(mesh, authority)
    after.check("all programs got their old clock")
    return after.close()
