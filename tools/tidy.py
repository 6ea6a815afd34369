#!/usr/bin/python3
"""Checks what a compiler does not: banned calls with their replacement, size of files, leftovers, white space, syntax of scripts.

    tools/tidy.py [ROOT]     prints one line per finding; exit status 1 when there is any"""
import os
import re
import subprocess
import sys

LINES_MAX = 500  # near that a file has a second noun
CODE = (".cc", ".h")
TEXT = CODE + (".py", ".sh", ".md", ".build", ".txt", ".yaml", ".yml", ".proto", ".json")
# Built, fetched or generated; not ours to check.
SKIPPED = re.compile(r"(build[^/]*|dist|subprojects|\.[^/]*|__pycache__)$")
KEPT_HIDDEN = (".ci",)


class Ban:
    """A pattern nobody writes, except in files that match `allowed`."""

    def __init__(self, pattern, instead, allowed=r"$^", only=r""):
        self.pattern, self.instead = re.compile(pattern), instead
        self.allowed, self.only = re.compile(allowed), re.compile(only)

    def applies(self, path):
        return bool(self.only.search(path)) and not self.allowed.search(path)


TESTS = r"^tests/|_test(_\w+)?\.(cc|h)$"
BANS_CPP = [
    Ban(r"\bstd::this_thread::sleep|\b(u|nano)sleep\s*\(|::sleep\s*\(", "wait for the event, or for the loop's timer"),
    Ban(r"\bstd::(cout|cerr|clog)\b", "the log facade; std::fputs where output is the purpose"),
    Ban(r"\b(getaddrinfo|gethostbyname\w*|getservbyname\w*|getpwnam|getpwuid)\s*\(",
        "c-ares or a literal address: a static program cannot load name services"),
    Ban(r"\b(std::)?s?rand\s*\(|\bstd::(random_device|mt19937)", "lib/base/random.h", r"^tests/bench/"),
    Ban(r"::system\s*\(\s*[^)\s]|\bpopen\s*\(", "spawn a program with its arguments, no shell", TESTS),
    Ban(r"_clock::now\s*\(|(?<![\w.>])time\s*\(\s*(nullptr|0|NULL)\s*\)|\bgettimeofday\s*\(", "lib/base/clock.h",
        r"^lib/base/(clock|log)\.cc$|^tests/bench/"),
    Ban(r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof)\s*\(", "std::string, std::from_chars",
        r"^tests/bench/"),
    Ban(r"(?<![\w:])assert\s*\(", "WEFT_CHECK or WEFT_BUG"),
    Ban(r"\.detach\(\)", "a scope or an owner that joins it", r"^tests/bench/"),
    Ban(r"\busing namespace std\s*;", "spell std::"),
]
BANS_PYTHON = [
    Ban(r"\btime\.sleep\s*\(", "wait for the event", only=r"^tests/(?!apps/)"),
    Ban(r"\bshell\s*=\s*True\b|\bos\.system\s*\(", "a list of arguments, no shell"),
]
AWAIT = re.compile(r"\bco_await\b")
AWAIT_IN_EXPRESSION = re.compile(r"\?.*\bco_await\b|\bauto&*\s*\[.*\]\s*=\s*co_await\b|\bco_(return|yield)\s+co_await\b")
# Spelled so that this file does not contain them.
BANS_TEXT = [
    Ban(r"\b(TO" r"DO|FIX" r"ME|HA" r"CK)\b", "do it, or say in words what holds and why"),
    Ban(r"(?<![\w.$}*])/(work|farm|root|home)/\w", "no path of one machine"),
    Ban(r"\b(deb|ftp|security|archive)\.debian\.org|proxy\.golang\.org|registry\.npmjs|static\.crates|pythonho" r"sted",
        "no host of a registry: read the machine's configuration"),
]


def paths(root):
    for folder, subfolders, names in os.walk(root):
        inside = os.path.relpath(folder, root)
        subfolders[:] = sorted(s for s in subfolders if s in KEPT_HIDDEN or not SKIPPED.match(s))
        for name in sorted(names):
            yield name if inside == "." else os.path.join(inside, name)


def without_strings_and_comments(line):
    """Enough for a line-wise look: literals emptied, comment cut off."""
    line = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line)
    return line.split("//")[0]


def awaits_inside(line):
    """Is an await part of a larger expression: a condition, an argument, a structured binding, another operator?"""
    for match in AWAIT.finditer(line):
        opened = []
        for letter in line[:match.start()]:
            if letter in "([{":
                opened.append(letter)
            elif letter in ")]}" and opened:
                opened.pop()
        if opened and opened[-1] != "{":
            return True
    return bool(AWAIT_IN_EXPRESSION.search(line))


def check_text(path, text):
    """(line number, finding) of any text file."""
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no line end at the end of the file"
    if text.endswith("\n\n"):
        yield text.count("\n"), "empty lines at the end of the file"
    code, python = path.endswith(CODE), path.endswith(".py")
    bans = [ban for ban in (BANS_CPP if code else BANS_PYTHON if python else []) if ban.applies(path)]
    for number, line in enumerate(text.split("\n"), 1):
        if line.endswith("\r"):
            yield number, "CRLF"
        elif line != line.rstrip():
            yield number, "white space at the end"
        if "\t" in line and (code or python):
            yield number, "tab"
        bare = without_strings_and_comments(line) if code else line
        for ban in bans:
            if ban.pattern.search(bare):
                yield number, "banned: %s; instead: %s" % (ban.pattern.search(bare).group(0).strip(), ban.instead)
        if code and "co_await" in bare and "operator co_await" not in bare and awaits_inside(bare):
            yield number, "let co_await stand alone in its statement: compilers miscompile the rest"
        for ban in BANS_TEXT:
            if ban.pattern.search(line):
                yield number, "banned: %s; %s" % (ban.pattern.search(line).group(0).strip(), ban.instead)
    if (code or python) and text.count("\n") > LINES_MAX:
        yield LINES_MAX, "%d lines, at most %d: look for the second noun" % (text.count("\n"), LINES_MAX)


def check_includes(path, text, siblings):
    """A header guards itself; a source file includes its own header first."""
    if path.endswith(".h") and not re.search(r"^#pragma once$", text, re.MULTILINE):
        yield 1, "no #pragma once"
    own = os.path.splitext(path)[0] + ".h"
    if path.endswith(".cc") and os.path.basename(own) in siblings:
        first = re.search(r"^#include (.*)$", text, re.MULTILINE)
        if not first or first.group(1) != '"%s"' % own:
            yield 1, "the file's own header comes first"


def check_script(root, path, text):
    """Syntax of scripts, by what their first line says."""
    first = text.split("\n", 1)[0]
    if path.endswith(".py") or re.match(r"#!.*python", first):
        try:
            compile(text, path, "exec")
        except SyntaxError as problem:
            yield problem.lineno or 1, "syntax: %s" % problem.msg
    shell = re.match(r"#!.*\b(sh|bash)\b", first)
    if shell or path.endswith(".sh"):
        done = subprocess.run([shell.group(1) if shell else "sh", "-n", os.path.join(root, path)],
                              stderr=subprocess.PIPE, text=True)
        if done.returncode:
            yield 1, "syntax: %s" % done.stderr.strip()
    if first.startswith("#!") and not os.access(os.path.join(root, path), os.X_OK):
        yield 1, "a script that cannot be executed: chmod +x"


def check_file(root, path, siblings):
    full = os.path.join(root, path)
    if os.path.islink(full):
        return
    with open(full, "rb") as handle:
        raw = handle.read()
    if not path.endswith(TEXT) and not raw.startswith(b"#!"):
        return
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        yield 1, "not UTF-8"
        return
    yield from check_text(path, text)
    yield from check_includes(path, text, siblings)
    yield from check_script(root, path, text)


def main(argv):
    root = argv[1] if len(argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    files = bad = 0
    everything = list(paths(root))
    names = {}
    for path in everything:
        names.setdefault(os.path.dirname(path), set()).add(os.path.basename(path))
    for path in everything:
        files += 1
        for number, finding in check_file(root, path, names[os.path.dirname(path)]):
            bad += 1
            print("%s:%d: %s" % (path, number, finding))
    print("tidy: %d files, %d findings" % (files, bad))
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
