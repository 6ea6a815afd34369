#!/usr/bin/python3
"""The calling side of a lab pod, run inside the pod's network namespace.

    pod_client.py ask   reads a JSON list of requests from stdin, writes one JSON line per answer
    pod_client.py load  reads one JSON request from stdin's first line, repeats it on new connections until stdin ends,
                        then writes one JSON line: counts, failures, and the span of each token sent

A request: url, and optionally method, headers, body, count, limit_s, id. An outcome is a status, "closed" (refused, reset or
ended without an answer) or "timeout". Times are CLOCK_MONOTONIC seconds, the same for every process of the machine."""
import http.client
import json
import select
import socket
import sys
import time
import urllib.parse

LIMIT_S = 10


def ask(request, token=None):
    url = urllib.parse.urlsplit(request["url"])
    headers = dict(request.get("headers") or {})
    if token:
        headers["x-token"] = token
    connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=request.get("limit_s", LIMIT_S))
    path = url.path or "/"
    outcome = {"id": request.get("id"), "begun": time.monotonic()}
    try:
        connection.request(request.get("method", "GET"), path + ("?" + url.query if url.query else ""),
                           body=request.get("body"), headers=headers)
        got = connection.getresponse()
        data = got.read()
        outcome.update(outcome=got.status, size=len(data))
        if data[:1] == b"{":
            outcome["body"] = json.loads(data)
    except socket.timeout:
        outcome["outcome"] = "timeout"
    except socket.gaierror as problem:
        outcome.update(outcome="unknown name", error=str(problem))
    except (OSError, http.client.HTTPException) as problem:
        outcome.update(outcome="closed", error="%s: %s" % (type(problem).__name__, problem))
    finally:
        connection.close()
    outcome["ended"] = time.monotonic()
    return outcome


def load(request):
    """Each request carries `prefix` and a running number as its token, so that a capture can be searched for it."""
    sent, failures, number = [], [], 0
    while not select.select([sys.stdin], [], [], request.get("pause_s", 0.002))[0]:
        token = "%s%06d" % (request["prefix"], number)
        number += 1
        got = ask(request, token)
        sent.append((token, got["begun"], got["ended"]))
        if got["outcome"] != 200:
            failures.append((got["begun"], got["ended"], got["outcome"], got.get("error", "")))
    return {"sent": sent, "failures": failures}


def main():
    if sys.argv[1] == "ask":
        for request in json.load(sys.stdin):
            for _ in range(request.get("count", 1)):
                print(json.dumps(ask(request)), flush=True)
    else:
        print(json.dumps(load(json.loads(sys.stdin.buffer.raw.readline()))))


if __name__ == "__main__":
    main()
