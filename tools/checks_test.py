#!/usr/bin/python3
"""The checks find what they are for, and the sums of a test run add up."""
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check_layers  # noqa: E402
import tidy  # noqa: E402
from testing import meson, report  # noqa: E402


SCRATCH = tempfile.TemporaryDirectory()


def tearDownModule():
    SCRATCH.cleanup()


class Tree:
    """A throw-away tree of sources."""

    def __init__(self, files):
        self.folder = tempfile.mkdtemp(dir=SCRATCH.name)
        for path, text in files.items():
            full = os.path.join(self.folder, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w") as handle:
                handle.write(text)

    def layers(self, path):
        return [why for _, why in check_layers.check_file(self.folder, path)]

    def lint(self, path):
        folder = os.path.dirname(os.path.join(self.folder, path))
        return [why for _, why in tidy.check_file(self.folder, path, set(os.listdir(folder)))]


def include(*targets):
    return "".join("#include %s\n" % (t if t[0] == "<" else '"%s"' % t) for t in targets)


class Layers(unittest.TestCase):
    def refused(self, path, target, others=()):
        files = {path: include(target)}
        files.update({other: "" for other in others})
        if target[0] != "<" and target not in files:
            files[target] = ""
        return bool(Tree(files).layers(path))

    def test_downwards_only(self):
        self.assertFalse(self.refused("lib/hbone/a.cc", "lib/http2/b.h"))
        self.assertTrue(self.refused("lib/http2/a.cc", "lib/hbone/b.h"))
        self.assertTrue(self.refused("lib/http2/a.cc", "lib/tls/b.h"))
        self.assertTrue(self.refused("ztunnel/a.cc", "cni-plugin/agent/b.h"))
        self.assertFalse(self.refused("certs/manager/a.cc", "certs/b.h"))
        self.assertTrue(self.refused("certs/a.cc", "certs/manager/b.h"))

    def test_third_party_in_its_folder(self):
        self.assertFalse(self.refused("lib/tls/a.cc", "<openssl/ssl.h>"))
        self.assertTrue(self.refused("ztunnel/a.cc", "<openssl/ssl.h>"))
        self.assertTrue(self.refused("ztunnel/a.cc", "<catch2/catch_test_macros.hpp>"))
        self.assertTrue(self.refused("ztunnel/a.cc", "<some/library.hpp>"))
        self.assertFalse(self.refused("ztunnel/a.cc", "<string>"))

    def test_engines(self):
        self.assertFalse(self.refused("lib/runtime/a.cc", "lib/uring/b.h"))
        self.assertTrue(self.refused("lib/hbone/a.cc", "lib/uring/b.h"))
        self.assertTrue(self.refused("ztunnel/a.cc", "lib/asio/b.h"))
        self.assertFalse(self.refused("ztunnel/main.cc", "lib/asio/b.h"))

    def test_pure(self):
        self.assertTrue(self.refused("lib/model/a.cc", "lib/base/clock.h"))
        self.assertTrue(self.refused("lib/translate/a.cc", "<fstream>"))
        self.assertTrue(self.refused("certs/schedule.cc", "lib/base/random.h"))
        self.assertFalse(self.refused("certs/secret.cc", "lib/base/clock.h"))

    def test_details_tests_and_unknown_paths(self):
        self.assertFalse(self.refused("lib/tls/a.cc", "lib/tls/detail/b.h"))
        self.assertTrue(self.refused("lib/hbone/a.cc", "lib/tls/detail/b.h"))
        self.assertTrue(self.refused("lib/tls/a.cc", "lib/tls/test_b.h"))
        self.assertFalse(self.refused("lib/tls/a_test.cc", "tests/support/b.h"))
        self.assertTrue(Tree({"lib/tls/a.cc": include("b.h"), "lib/tls/b.h": ""}).layers("lib/tls/a.cc"))

    def test_protobuf_stops(self):
        self.assertFalse(self.refused("lib/zds/a.cc", "zds.pb.h"))
        self.assertTrue(self.refused("lib/zds/a.h", "zds.pb.h"))
        self.assertTrue(self.refused("ztunnel/a.cc", "zds.pb.h"))


class Lint(unittest.TestCase):
    def found(self, line, path="lib/io/a.cc"):
        return Tree({path: line + "\n"}).lint(path)

    def test_banned_calls(self):
        for line in ["  std::this_thread::sleep_for(1ms);", "  std::cout << x;", "  std::system(command);",
                     "  auto now = std::chrono::steady_clock::now();", "  assert(x);", "  std::thread(f).detach();"]:
            self.assertTrue(self.found(line), line)
        for line in ["  co_await sleep;", "// std::cout", '  log("std::cout");', "  static_assert(x);"]:
            self.assertFalse(self.found(line), line)

    def test_awaits_stand_alone(self):
        for line in ["  if (co_await f()) return;", "  g(co_await f());", "  auto x = y ? co_await f() : 0;",
                     "  auto [a, b] = co_await f();", "  co_return co_await f();"]:
            self.assertTrue(self.found(line), line)
        for line in ["  auto x = co_await f(a, b);", "  (void)co_await f();", "  if (x) co_await f();",
                     "  spawn([](int x) -> Task<void> { co_await f(x); }(1));"]:
            self.assertFalse(self.found(line), line)

    def test_text(self):
        self.assertTrue(self.found("int x; "))
        self.assertTrue(self.found("\tint x;"))
        self.assertTrue(self.found("// TO" + "DO later"))
        self.assertTrue(self.found("/wo" + "rk/x", "docs/a.md"))
        self.assertFalse(self.found("#pragma once", "lib/io/a.h"))
        self.assertTrue(self.found("int x;", "lib/io/a.h"))
        self.assertTrue(self.found("int x;\n" * 501))
        self.assertTrue(self.found("def f(:", "tools/a.py"))
        self.assertTrue(self.found("#!/bin/sh\nif", "tools/a"))


class Sums(unittest.TestCase):
    def count(self, result, output):
        return str(meson.count(result, output)[0])

    def test_cases_of_a_program(self):
        self.assertEqual(self.count("OK", "All tests passed (5 assertions in 2 test cases)\n"), "2 passed, 0 failed, 0 skipped")
        self.assertEqual(self.count("FAIL", "test cases: 12 | 10 passed | 1 failed | 1 skipped\n"),
                         "10 passed, 1 failed, 1 skipped")
        self.assertEqual(self.count("OK", "  SKIPPED no peer\nAll tests passed (1 assertion in 2 test cases)\n"),
                         "1 passed, 0 failed, 1 skipped")

    def test_a_program_that_dies_has_failed(self):
        for result in ["FAIL", "TIMEOUT", "ERROR"]:
            self.assertEqual(self.count(result, ""), "0 passed, 1 failed, 0 skipped")
        self.assertEqual(self.count("FAIL", "All tests passed (5 assertions in 2 test cases)\n"), "0 passed, 1 failed, 0 skipped")

    def test_other_tests(self):
        self.assertEqual(self.count("OK", "fine\n"), "1 passed, 0 failed, 0 skipped")
        self.assertEqual(self.count("SKIP", ""), "0 passed, 0 failed, 1 skipped")

    def test_sum_of_a_step(self):
        self.assertEqual(str(report.Tally.parse("12 passed, 0 failed, 3 skipped\n")), "12 passed, 0 failed, 3 skipped")
        self.assertIsNone(report.Tally.parse("about 12 passed, 0 failed, 3 skipped\n"))


if __name__ == "__main__":
    unittest.main()
