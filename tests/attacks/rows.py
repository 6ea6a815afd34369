#!/usr/bin/env python3
"""Every attack on the tunnel port that we know, and the tests that hold it: runs them all and says how many rows hold.

A row is one kind of attack; its tests are named, so that a test which is renamed or removed makes the row fail. Each row has the
attack, and an honest look-alike that must survive it. Usage: rows.py BUILD, where BUILD holds the unit tests' programs.
"""
import os
import subprocess
import sys

H2, HBONE, TLS, ZTUNNEL = "lib/http2/http2_test", "lib/hbone/hbone_test", "lib/tls/tls_test", "ztunnel/ztunnel_test"
MODEL, METRICS, ADMIN, RUNTIME = "lib/model/model_test", "lib/telemetry/telemetry_test", "lib/admin/admin_test", "lib/runtime/runtime_test"
ENGINES, CONFINEMENT = "tests/support/engines_test", "lib/linux/confinement_test"

FLOODS = (ZTUNNEL, "floods over TLS: each is told why it ends and counted, honest tunnels of others never notice")
BYTES = (ZTUNNEL, "one byte at a time through a tunnel is honest traffic, both ways and for long")
HOSTILE_CONNECT = (ZTUNNEL, "a member of the mesh gets no tunnel to loopback, to other pods, to our own ports or by another method")
BROKEN = (ZTUNNEL, "what is no HTTP/2 over TLS, and what breaks its rules, ends the connection and is counted")
USELESS = (H2, "frames and requests that a tunnel server has no use for are refused")
HOLD = (ZTUNNEL, "connections and tunnels held for ever: a peer has so many and no more, others have theirs")
HOLD_NODE = (ZTUNNEL, "an identity has so many connections and tunnels at all pods of the node together, others have theirs")
DESCRIPTORS = (ZTUNNEL, "a pod whose connections have its share of descriptors is refused more, another pod of the node is not")

ROWS = [
    (1, "rapid reset", [
        (H2, "rapid reset: the connection ends after the burst, and requests taken back at once are never handled"),
        (H2, "resets that follow the dial count as well, the places of streams stay taken until their work has ended"),
        (H2, "who waits for a dial hears that its stream was reset"),
        (H2, "a busy client may reset as often as it likes when its streams carried something"),
        (H2, "clients that give up now and then are not hostile: resets are earned back with time"),
        (H2, "a thousand streams one after the other and two hundred at once"),
        (ZTUNNEL, "rapid reset makes no dials pile up at the application"),
        (ZTUNNEL, "who comes back after being cut waits, others behind its address do not"), FLOODS]),
    (2, "resets provoked from the server", [(H2, "resets that a peer provokes from us are counted as its own"), FLOODS]),
    (3, "CONTINUATION flood, header block without end", [
        (H2, "header blocks without end are cut off after eight continuations, and after as many bytes as a request may have"),
        (H2, "a header block that does not come to its end is given five seconds, an idle tunnel for ever"), FLOODS]),
    (4, "HPACK bomb, table churn", [
        (H2, "a small block that unpacks to much more costs one stream, tables resized for ever stay within what we offered"),
        (H2, "garbage, oversized headers and a lost transport end in errors, not in crashes")]),
    (5, "PING flood", [
        (H2, "floods of control frames end the connection, what keeps a connection going does not"),
        (H2, "answers pile up to a bound for a peer that does not read them"), FLOODS]),
    (6, "SETTINGS flood, huge SETTINGS", [
        (H2, "floods of control frames end the connection, what keeps a connection going does not"),
        (H2, "settings beyond 32 entries, windows beyond their end and empty updates end the connection"), FLOODS]),
    (7, "empty frames, padding only", [
        (H2, "data without bytes: a hundred in a row end the connection, between others they are forgiven"),
        (H2, "data for a stream that we ended is in flight legitimately, not for ever"), FLOODS]),
    (8, "tiny DATA frames", [
        (H2, "frames of one byte that nobody reads take no more memory than their bytes, and end the connection in the end"),
        (H2, "one byte at a time, read as it comes, goes on for ever and arrives in order"),
        (H2, "one peer's frames are handled in portions, so that others have their turns in between"), BYTES]),
    (9, "PRIORITY and WINDOW_UPDATE flood", [
        (H2, "floods of control frames end the connection, what keeps a connection going does not"), FLOODS]),
    (10, "windows: never opened, flipped, overflowing", [
        (H2, "settings beyond 32 entries, windows beyond their end and empty updates end the connection"),
        (H2, "a peer that never opens its window holds a bounded part of what is sent to it, its other streams go on"),
        (H2, "a reader that stalls pauses its writer and keeps what is in flight within the window"),
        (H2, "what waits for a window is told apart from what moves, and an end waits for what was written before it"),
        (ENGINES, "a reader that stopped is told apart from a slow one, and from a connection in which nothing waits"),
        (ZTUNNEL, "a tunnel whose waiting bytes nobody takes is cut and says why; a slow reader and an idle tunnel go on"),
        (ZTUNNEL, "without a time-out tunnels stand still for as long as they like, and lose nothing"),
        (ZTUNNEL, "an identity has so many tunnels that stand still, those of others are left alone, and places come back"),
        BROKEN]),
    (11, "streams and connections opened and held", [
        HOLD, HOLD_NODE, (ZTUNNEL, "connections and tunnels are counted by address and by identity, and given back"),
        (ZTUNNEL, "what an identity holds at one pod counts at the others, and comes back"),
        (ZTUNNEL, "places taken and given back by many threads at once are never more than the bound, and all come back"),
        (H2, "a peer that does not answer pings loses its connection and every stream says so"),
        (H2, "a header block that does not come to its end is given five seconds, an idle tunnel for ever")]),
    (12, "handshakes: slow, silent, many", [
        (ZTUNNEL, "silent handshakes: few from one address, bounded in all, and the honest get through meanwhile"),
        (ZTUNNEL, "one address with many silent handshakes is refused more at once, another address is not"),
        (ZTUNNEL, "one address has few unfinished handshakes, whatever others have"),
        (ZTUNNEL, "where a pod has few places for handshakes one address has half of them, and others do not wait for it"),
        (ZTUNNEL, "while all places are taken nothing is accepted; then the oldest that had its time gives way, no other"),
        (ZTUNNEL, "costly steps are taken one a turn, each party's in turn, however many wait")]),
    (13, "TLS: key updates, chains, empty records, names", [
        (TLS, "key updates are paid for with data, and many requests get one answer"),
        (TLS, "empty records are tolerated only so often"),
        (TLS, "a record full of tiny tickets is read once through"),
        (TLS, "a write waits for a slow peer also while a read is answering that peer"),
        (ZTUNNEL, "a flood of TLS key updates ends the connection and is counted, now and then they are followed"),
        (TLS, "what a peer with keys must not send ends the connection with an alert"),
        (TLS, "a chain of five certificates is looked at, one of six or a message beyond 64 KiB is not"),
        (TLS, "no identity comes of a name with a NUL, another case or a path too many"),
        (TLS, "a client that is not who the mesh expects is refused by the server"),
        (TLS, "a client without a certificate is refused"),
        (TLS, "TLS 1.2 is refused unless both sides opted in"),
        (TLS, "a mesh server accepts its trust domain and exactly one URI")]),
    (14, "identity confusion", [
        (TLS, "a mesh client accepts exactly the expected identities"),
        (TLS, "a server that is not who the client expects is refused and told"),
        (HBONE, "whatever differs in the key keeps tunnels apart"),
        (HBONE, "request fields say what was asked, and odd ones are ignored"),
        (MODEL, "baggage is read leniently and never trusted with more than it may hold"),
        (ZTUNNEL, "a policy is asked about the certificate's identity, whatever the request says of its sender")]),
    (15, "CONNECT to where it must not go", [
        HOSTILE_CONNECT, (MODEL, "a tunnel elsewhere is refused"),
        (MODEL, "a tunnel's authority is an address or a name with a port, everything else is refused")]),
    (16, "methods, frames and protocols that are none of ours", [
        USELESS, BROKEN, HOSTILE_CONNECT,
        (H2, "headers for streams that are gone end the connection after a burst, those that cross our own reset do not"),
        (H2, "interim responses without end are left, a few before the answer are passed over"),
        (HBONE, "requests that are not CONNECT are refused before any handler"),
        (HBONE, "a CONNECT for another protocol gets no tunnel, nothing is dialled for it and the connection goes on"),
        (HBONE, "trailers behind a CONNECT end its direction and reach nobody, a second request on its stream ends it"),
        (TLS, "plain text and noise instead of a handshake end in a clear error"),
        (TLS, "ALPN: another protocol is refused, none is tolerated")]),
    (17, "half-open, RST and FIN games", [
        (H2, "resets that a peer provokes from us are counted as its own"),
        (H2, "a reset reaches the other side as a reset, after what was sent before it"),
        (H2, "an end that waits behind bytes is lost with them: by a reset, or with the connection"),
        (H2, "bytes pass both ways and each direction ends by itself"),
        (H2, "bytes of a stream that is dropped unread give their credit back exactly once"),
        (ENGINES, "one direction ends while the other goes on"),
        (ENGINES, "a reset wakes both readers, and is not an end of stream")]),
    (18, "GOAWAY games", [
        (H2, "a GOAWAY takes back what is beyond its last stream and nothing else, however often it is said"),
        (H2, "an orderly shutdown lets open streams finish and takes no new ones"),
        (HBONE, "a peer that drains gets no new tunnels, its open ones finish")]),
    (19, "label and log explosion", [
        (METRICS, "label sets beyond the bound are counted together"),
        (METRICS, "long label values fill a family by their bytes"),
        (ZTUNNEL, "refusals are logged up to a rate and counted beyond it"),
        (ZTUNNEL, "denied connections are told up to a rate, the first of each address always, and all of them counted"),
        (H2, "requests that are refused one after the other end the connection, others that carry bytes pay for them"),
        (ZTUNNEL, "every limit has a label of its own and a counter from the start")]),
    (20, "policy that changes under way", [
        (ZTUNNEL, "a policy change ends the open connections it concerns and no others"),
        (ZTUNNEL, "plain text from outside passes until a policy asks for an identity, then it is reset and counted"),
        (MODEL, "a policy that is named but unknown counts as one that allows nothing"),
        (HBONE, "a destination that goes, or an old certificate, takes its connections out; open tunnels go on")]),
    (23, "descriptors and memory of one pod", [
        DESCRIPTORS, (ZTUNNEL, "one pod's connections never take the descriptors of others, all pods' never those of the program"),
        (ZTUNNEL, "only so many offenders are remembered, the latest"),
        (ENGINES, "connections that nobody has taken yet hold few descriptors"),
        (ENGINES, "while many connections wait to be taken, others have their turns in between"),
        (ENGINES, "running out of descriptors pauses accepting")]),
    (24, "admin surface", [
        (ADMIN, "bad requests are refused, counted, and harm nobody else"),
        (ADMIN, "slow clients are cut off: silent, in the head, in the body, and in reading the answer"),
        (ADMIN, "a crowd waits: the longest idle connection makes room, answers end theirs, nobody is turned away")]),
    (26, "secrets of one process", [
        (RUNTIME, "a prepared process leaves no core dump, is nobody's to trace, and has all the descriptors it may have"),
        (RUNTIME, "a prepared process keeps the capabilities and system calls that it needs, and no others"),
        (RUNTIME, "a process with nothing to give up, confined already, is prepared all the same"),
        (CONFINEMENT, "capabilities that are not kept are gone from every set, in later threads too, and what they allowed is refused"),
        (CONFINEMENT, "system calls that no program of ours makes are refused, whatever it needs"),
        (CONFINEMENT, "each need opens its own system calls"),
        (CONFINEMENT, "namespaces that may be entered or made are those of networks alone"),
        (CONFINEMENT, "threads that run already are confined with the rest"),
        (CONFINEMENT, "memory that was written to is not executed"),
        (CONFINEMENT, "a confined process starts threads and programs, opens sockets and waits on them"),
        (HBONE, "whatever differs in the key keeps tunnels apart"),
        (TLS, "credentials need a chain, a root and the right key")]),
]


def holds(build, program, name):
    """Whether the test exists and passes; says why not."""
    path = os.path.join(build, program)
    # A comma separates filters, an asterisk and brackets have a meaning.
    escaped = name.replace("\\", "\\\\").replace(",", "\\,").replace("[", "\\[")
    try:
        done = subprocess.run([path, escaped], capture_output=True, text=True, timeout=300, check=False)
    except FileNotFoundError:
        return "no program " + program
    if "No test cases matched" in done.stdout + done.stderr or "No tests ran" in done.stdout:
        return "%s has no test of this name" % program
    if done.returncode == 0:
        return None
    lines = done.stdout.splitlines()
    at = next((i for i, line in enumerate(lines) if "FAILED" in line), 0)
    return "\n    ".join(lines[at:at + 5])


def main():
    build, known, held = sys.argv[1], {}, 0
    for number, title, tests in ROWS:
        problems = []
        for test in tests:
            if test not in known:
                known[test] = holds(build, *test)
            if known[test]:
                problems.append("%s: %s" % (test[1], known[test]))
        held += not problems
        print("row %2d %s: %s (%d tests)" % (number, "holds" if not problems else "FAILS", title, len(tests)))
        for problem in problems:
            print("    " + problem)
    print("rows: %d of %d" % (held, len(ROWS)))
    return 0 if held == len(ROWS) else 1


if __name__ == "__main__":
    sys.exit(main())
