"""What tools/soak says about what it has seen: a leak is found, noise is not one, and a short run proves nothing."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools"))
sys.dont_write_bytecode = True
from bench_lib import soak  # noqa: E402

NAME = "ztunnel on node-a"


def verdict(minutes=20, descriptors=lambda s: 40, memory=lambda s: 50e6, p99=lambda s: 900, old=(900, 950, 900), problems=()):
    run = soak.Soak.__new__(soak.Soak)
    run.names, run.problems = [NAME], list(problems)
    run.done = {"requests": 1, "connections": 1, "bytes": 1, "ends": 1}
    run.p99s = ([900, 890, 950], list(old))
    run.samples = [(s, {NAME: (descriptors(s), memory(s))}, p99(s)) for s in range(25, minutes * 60 + 1, 25)]
    return run.report()[1]


class SoakTest(unittest.TestCase):
    def test_a_slope_is_the_least_squares_and_a_drift_that_of_medians(self):
        self.assertAlmostEqual(soak.slope([(0, 1), (10, 21), (20, 41)]), 2)
        self.assertEqual(soak.slope([(0, 1)]), 0)
        self.assertAlmostEqual(soak.drift([10, 10, 99], [11, 11, 1]), 0.1)
        self.assertEqual(soak.drift([], []), 0)

    def test_what_stays_as_it_is_passes(self):
        self.assertIs(verdict(), True)
        self.assertIs(verdict(memory=lambda s: 50e6 + (s % 50) * 1e4, p99=lambda s: 900 + s % 75), True)

    def test_growth_before_the_warm_up_is_over_does_not_count(self):
        self.assertIs(verdict(descriptors=lambda s: 40 + min(s, 300), memory=lambda s: 1e6 * min(s, 300)), True)

    def test_a_leak_is_found(self):
        self.assertIs(verdict(descriptors=lambda s: 40 + s // 300), False)
        self.assertIs(verdict(memory=lambda s: 50e6 + 250 * s), False)

    def test_what_slows_down_is_found_by_new_programs_beside_it_not_by_the_machine(self):
        self.assertIs(verdict(old=(1200, 990, 1000)), False)
        self.assertIs(verdict(old=()), False)
        self.assertIs(verdict(p99=lambda s: 900 + s), True)

    def test_trouble_on_the_way_fails_however_short_the_run(self):
        self.assertIs(verdict(problems=["small: closed"]), False)
        self.assertIs(verdict(minutes=2, problems=["small: closed"]), False)

    def test_a_short_run_proves_nothing(self):
        self.assertIsNone(verdict(minutes=5))


if __name__ == "__main__":
    unittest.main()
