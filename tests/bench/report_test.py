"""The report of tools/bench: medians, paired ratios, and the place of the tables in a page."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools"))
sys.dont_write_bytecode = True
from bench_lib import cli, report  # noqa: E402
from lab_lib.shell import LabError  # noqa: E402


def row(lane, number, measure="up-1", **values):
    return dict({"measure": measure, "lane": lane, "round": number, "errors": 0}, **values)


class ReportTest(unittest.TestCase):
    def test_numbers_have_three_digits_that_mean_something(self):
        self.assertEqual([report.number(n) for n in (0, 0.1234, 1.234, 12.34, 123.4, 12345)],
                         ["0", "0.123", "1.23", "12.3", "123", "12345"])

    def test_a_cell_is_the_median_with_lowest_and_highest(self):
        self.assertEqual(report.cell([3, 1, 2], True), "2.00 (1.00..3.00)")
        self.assertEqual(report.cell([3, 1, 2]), "2.00")
        self.assertEqual(report.cell([]), "-")

    def test_ratios_pair_measurements_of_the_same_round(self):
        # The machine is twice as slow in round 1; the ratio does not see that.
        rows = [row("nginx", 0, proxies=2.0), row("weft", 0, proxies=1.0), row("nginx", 1, proxies=4.0),
                row("weft", 1, proxies=2.0)]
        self.assertIn("0.500 (0.500..0.500)", "\n".join(report.ratios(rows)))

    def test_without_our_lane_or_without_peers_there_are_no_ratios(self):
        self.assertEqual(report.ratios([row("nginx", 0, proxies=2.0)]), [])
        self.assertEqual(report.ratios([row("plain", 0, proxies=0), row("weft", 0, proxies=2.0)]), [])

    def test_the_section_of_a_page_is_replaced_and_the_rest_kept(self):
        page = "# Head\n%s\nold\n%s\ntail\n" % (report.BEGIN, report.END)
        once = report.replace_section(page, "new\n")
        self.assertEqual(once, "# Head\n%s\n\nnew\n\n%s\ntail\n" % (report.BEGIN, report.END))
        self.assertEqual(report.replace_section(once, "new"), once)

    def test_a_page_without_the_place_is_refused(self):
        with self.assertRaises(LabError):
            report.replace_section("# Head\n%s\n" % report.BEGIN, "new")

    def test_the_project_s_own_page_has_the_place(self):
        with open(cli.DOCS) as handle:
            report.replace_section(handle.read(), "new")

    def test_a_missing_part_of_the_comparison_is_named(self):
        settings = cli.parse(["--build", os.path.join(os.path.dirname(__file__), "no-build")])
        with self.assertRaises(LabError) as caught:
            cli.require(settings)
        for program in ("ztunnel in", "weft-agent in", "weft-certs in", "weft-cni in"):
            self.assertIn(program, str(caught.exception))

    def test_wrong_use_exits_64(self):
        for argv in (["--lanes", "plain,apache"], ["--rounds", "0"], ["--speed"]):
            with self.assertRaises(SystemExit) as caught, open(os.devnull, "w") as sys.stderr:
                cli.parse(argv)
            sys.stderr = sys.__stderr__
            self.assertEqual(caught.exception.code, 64)


if __name__ == "__main__":
    unittest.main()
