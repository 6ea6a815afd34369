#!/usr/bin/python3
"""The command line of ztunnel: commands, exit codes, and that every mistake in the settings is named at once.

    program_test.py PATH/TO/ztunnel"""
import os
import subprocess
import sys
import tempfile
import unittest

ZTUNNEL = None
GOOD = {"XDS_ADDRESS": "", "CA_ROOT_CA": "SYSTEM", "LOCAL_XDS": "workloads: []"}


def run(*words, **environment):
    """(exit code, standard output, standard error), with nothing of this process's environment."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([ZTUNNEL, *words], env={"PATH": "/usr/bin:/bin", **environment}, cwd=folder, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
    return done.returncode, done.stdout, done.stderr


class Commands(unittest.TestCase):
    def test_version_is_one_line_with_the_version_of_istio(self):
        code, out, error = run("version", ISTIO_META_ISTIO_VERSION="1.99")
        self.assertEqual((code, error), (0, ""))
        self.assertEqual(out.count("\n"), 1)
        self.assertIn("1.99", out)

    def test_help_names_every_command(self):
        code, out, _ = run("help")
        self.assertEqual(code, 0)
        for command in ("proxy", "version", "help", "check-config"):
            self.assertIn("\n  " + command, out)

    def test_help_settings_names_settings_with_their_defaults(self):
        code, out, _ = run("help", "settings")
        self.assertEqual(code, 0)
        for setting in ("POOL_UNUSED_RELEASE_TIMEOUT", "MANIFEST_DIR", "LOCALHOST_APP_TUNNEL"):
            self.assertIn(setting, out)

    def test_another_word_is_an_error_with_the_help(self):
        code, out, error = run("porxy")
        self.assertEqual((code, out), (1, ""))
        self.assertTrue(error.startswith("unknown command: porxy\n"), error)
        self.assertIn("check-config", error)


class CheckConfig(unittest.TestCase):
    def test_a_good_configuration_is_said_to_be_one(self):
        self.assertEqual(run("check-config", **GOOD), (0, "configuration is valid\n", ""))

    def test_every_mistake_is_named_each_on_its_own_line(self):
        bad = {"POOL_MAX_STREAMS_PER_CONNECTION": "none", "KEEPALIVE_ENABLED": "yes", "SECRET_TTL": "a day",
               "HTTP2_FRAME_SIZE": "1", "ZTUNNEL_WORKER_THREADS": "0%", "WEFT_ENGINE": "steam",
               "UNSTABLE_ENABLE_SOCKS5": "true", "CRL_PATH": "/crl.pem", "CA_ROOT_CA": "/no/such/file.pem",
               "RUST_LOG": "access=loud", "LOCAL_XDS": "workloads: []\nsurprise: 1\n", "XDS_ADDRESS": "",
               "CA_ADDRESS": "http://x:1", "PROXY_CONFIG": "statsPort: many"}
        code, out, error = run("check-config", **bad)
        self.assertEqual((code, out), (1, ""))
        lines = error.splitlines()
        for name in set(bad) - {"XDS_ADDRESS"}:
            named = [line for line in lines if name in line]
            with self.subTest(name):
                # The filter's own words need no name of a variable before them to be found.
                self.assertEqual(len(named), 1, error)
        self.assertEqual(len(lines), len(bad) - 1, error)

    def test_what_the_folder_says_wrongly_is_named(self):
        code, out, error = run("check-config", **{**GOOD, "LOCAL_XDS": "", "MANIFEST_DIR": "/no/such/folder"})
        self.assertEqual((code, out), (1, ""))
        self.assertTrue(error.startswith("MANIFEST_DIR: "), error)

    def test_the_start_stops_at_the_same_mistakes_before_anything_is_opened(self):
        bad = {**GOOD, "KEEPALIVE_RETRIES": "many", "SECRET_TTL": "a day"}
        for words in (("proxy", "ztunnel"), ()):
            code, out, error = run(*words, **bad)
            self.assertEqual((code, out), (1, ""))
            self.assertEqual(len(error.splitlines()), 2, error)
            for name in ("KEEPALIVE_RETRIES", "SECRET_TTL"):
                self.assertIn("invalid env var %s=%s (" % (name, bad[name]), error)


if __name__ == "__main__":
    ZTUNNEL = os.path.abspath(sys.argv.pop(1))
    unittest.main()
