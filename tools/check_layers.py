#!/usr/bin/python3
"""Checks who includes whom. Every include is written from the repository root, so the line itself shows the dependency.

    tools/check_layers.py [ROOT]     prints one line per violation; exit status 1 when there is any

A folder may include itself and any lower layer, never a neighbour on its own layer and never upwards. Tests may include
anything and nobody includes tests. Third-party headers appear only in the folder that wraps them."""
import os
import re
import sys

LAYERS = [
    ["lib/base"],
    ["lib/async", "lib/linux", "lib/model", "lib/config", "lib/telemetry"],
    ["lib/io", "lib/http", "lib/manifest"],
    ["lib/uring", "lib/asio", "lib/tls", "lib/http1", "lib/http2", "lib/translate"],
    ["lib/hbone", "lib/grpc", "lib/zds", "lib/kube", "lib/runtime", "lib/admin", "lib/explain"],
    ["certs", "lib/xds", "lib/sources"],
    ["ztunnel", "waypoint", "cni-plugin", "certs/manager"],
    ["tools/weftctl"],
]
LAYER_OF = {folder: number for number, folders in enumerate(LAYERS) for folder in folders}
PROGRAMS = LAYERS[6] + LAYERS[7]

# First part of an angle include -> folders that may name it; a folder inside a layer, such as ztunnel/dump, means itself alone.
THIRD_PARTY = {
    "spdlog": ["lib/base"],
    "fmt": ["lib/base"],
    "re2": ["lib/model"],
    "yaml-cpp": ["lib/manifest"],
    "nlohmann": ["lib/manifest", "lib/config", "lib/kube", "lib/admin", "lib/explain", "cni-plugin", "ztunnel/dump", "tools/weftctl"],
    "liburing.h": ["lib/uring"],
    "liburing": ["lib/uring"],
    "boost": ["lib/asio"],
    "ares.h": ["lib/asio"],
    "openssl": ["lib/tls"],
    "nghttp2": ["lib/http2"],
    "zlib.h": ["lib/admin"],
    "google": ["lib/grpc", "lib/zds", "lib/xds", "certs"],
    "CLI": PROGRAMS,
    "catch2": [],
}
PROTOBUF_FOLDERS = ["lib/xds", "lib/zds", "certs", "certs/manager"]
ENGINES = ["lib/uring", "lib/asio"]

# Decisions: values in, values out. Whole folders, and single files elsewhere (without their ending).
PURE_FOLDERS = ["lib/model", "lib/translate", "lib/explain"]
PURE_FILES = ["certs/schedule", "cni-plugin/redirect/ruleset", "cni-plugin/plugin/enroll", "cni-plugin/install/conflist",
              "ztunnel/dns/answer", "waypoint/routing/match", "waypoint/upstream/pick"]
IMPURE = re.compile(r"lib/(async|io|linux)/|lib/base/(clock|random)\.h$|"
                    r"(thread|mutex|shared_mutex|condition_variable|future|atomic|random|fstream|iostream|filesystem|ctime)$")
# Bytes in, events out: no system call is reachable from here.
NO_SYSTEM = PURE_FOLDERS + ["lib/http", "lib/http1", "lib/http2", "lib/hbone", "lib/grpc", "lib/tls"]
SYSTEM = re.compile(r"(sys|linux|netinet|net|arpa|asm|asm-generic)/|"
                    r"(unistd|fcntl|poll|sched|pthread|signal|dirent|netdb|termios|dlfcn|syslog|spawn|pwd|grp|glob|elf|link|ifaddrs|malloc)\.h$")
STANDARD = re.compile(r"[a-z_0-9]+$")

INCLUDE = re.compile(r'\s*#\s*include\s*(["<])([^">]+)[">]')
SOURCES = ("lib", "certs", "ztunnel", "waypoint", "cni-plugin", "tests", "tools")


def folder_of(path):
    """The layered folder a path belongs to, or None; the longest match wins (certs/manager before certs)."""
    parts = path.split("/")
    for length in range(len(parts) - 1, 0, -1):
        if "/".join(parts[:length]) in LAYER_OF:
            return "/".join(parts[:length])
    return None


def is_test(path):
    name = os.path.basename(path)
    return path.startswith("tests/") or name.startswith("test_") or bool(re.search(r"_test(_\w+)?\.(cc|h)$", name))


def sources(root):
    for top in SOURCES:
        for folder, subfolders, names in os.walk(os.path.join(root, top)):
            subfolders.sort()
            for name in sorted(names):
                if name.endswith((".h", ".cc")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def check_angle(path, folder, target):
    """Why this file may not include <target>, or None."""
    first = target.split("/")[0]
    if first in THIRD_PARTY:
        allowed = THIRD_PARTY[first]
        if folder not in allowed and os.path.dirname(path) not in allowed:
            return "<%s> is named only in %s" % (target, ", ".join(allowed) or "tests")
        return None
    if SYSTEM.match(target):
        return "<%s>: no system call from here" % target if folder in NO_SYSTEM else None
    if not STANDARD.match(target) and target not in ("errno.h",):
        return "<%s> is unknown: give it a folder in tools/check_layers.py" % target
    return None


def check_quoted(path, folder, target, exists):
    """Why this file may not include "target", or None."""
    if target.endswith(".pb.h"):
        if folder not in PROTOBUF_FOLDERS:
            return "generated protobuf stops in %s" % ", ".join(PROTOBUF_FOLDERS)
        if path.endswith(".h") and "/detail/" not in path:
            return "generated protobuf does not appear in a header others read"
        return None
    if not exists(target):
        return '"%s" is no path from the root of the tree' % target
    if is_test(target):
        return '"%s" belongs to the tests' % target
    other = folder_of(target)
    if other is None:
        return '"%s" is in no layer: give its folder one in tools/check_layers.py' % target
    if "/detail/" in target and not path.startswith(target.split("/detail/")[0] + "/"):
        return '"%s" belongs to its folder alone' % target
    if other == folder:
        return None
    if other in ENGINES and folder != "lib/runtime" and not (folder in PROGRAMS and os.path.basename(path) == "main.cc"):
        return '"%s": only lib/runtime and main.cc name an engine' % target
    if LAYER_OF[other] == LAYER_OF[folder]:
        return '"%s" is a neighbour on the same layer' % target
    if LAYER_OF[other] > LAYER_OF[folder]:
        return '"%s" is above %s' % (target, folder)
    return None


def check_file(root, path):
    """[(line number, reason)]"""
    if is_test(path):
        return []
    folder = folder_of(path)
    if folder is None:
        return [(1, "this folder is in no layer: give it one in tools/check_layers.py")]
    pure = folder in PURE_FOLDERS or os.path.splitext(path)[0] in PURE_FILES
    found = []
    with open(os.path.join(root, path), encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            kind, target = match.groups()
            why = check_angle(path, folder, target) if kind == "<" else check_quoted(
                path, folder, target, lambda name: os.path.exists(os.path.join(root, name)))
            if not why and pure and IMPURE.match(target):
                why = "%s: this file is pure; time, chance and input arrive as arguments" % target
            if why:
                found.append((number, why))
    return found


def main(argv):
    root = argv[1] if len(argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    files = bad = 0
    for path in sources(root):
        files += 1
        for number, why in check_file(root, path):
            bad += 1
            print("%s:%d: %s" % (path, number, why))
    print("layers: %d files, %d violations" % (files, bad))
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
