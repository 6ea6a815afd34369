"""From rows to tables. A row is one measurement of one lane in one round; tables give medians over the rounds, with the lowest
and highest in brackets where that tells something, and ratios formed within each round, because a machine's speed drifts."""
import statistics

from lab_lib.shell import LabError, write_file

BEGIN = "<!-- tools/bench writes from here -->"
END = "<!-- to here -->"

BULK = {"up-1": "client to server, 1 connection", "up-16": "client to server, 16", "down-1": "server to client, 1",
        "down-16": "server to client, 16"}
ROUND_TRIPS = {"ping-1b-1": "1 byte, 1 connection", "ping-1b-64": "1 byte, 64", "ping-1k-1": "1 KiB, 1",
               "ping-1k-64": "1 KiB, 64"}
CHURN = {"churn": "connect, 1 byte there and back, close; 16 at a time"}
PARTS = [("a", "client's proxy", True), ("b", "server's proxy", True), ("path", "whole path", False)]


def values(rows, measure, lane, key):
    return [row[key] for row in rows if row["measure"] == measure and row["lane"] == lane and row.get(key) is not None]


def number(value):
    """Three digits that mean something."""
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return "%.*f" % (digits, value)


def cell(found, spread=False):
    if not found:
        return "-"
    text = number(statistics.median(found))
    return "%s (%s..%s)" % (text, number(min(found)), number(max(found))) if spread and len(found) > 1 else text


def lanes_of(rows):
    return list(dict.fromkeys(row["lane"] for row in rows))


def table(rows, measures, columns):
    """columns: (key, heading, with spread)."""
    out = ["| measurement | lane | %s |" % " | ".join(c[1] for c in columns), "|---|---|" + "---:|" * len(columns)]
    for measure, title in measures.items():
        for lane in lanes_of(rows):
            cells = [cell(values(rows, measure, lane, key), spread) for key, _, spread in columns]
            if any(c != "-" for c in cells):
                out.append("| %s | %s | %s |" % (title, lane, " | ".join(cells)))
    return out


def ratios(rows, ours="weft"):
    """What our proxies take for what the peers' take 1, and likewise the median latency: medians over the rounds."""
    peers = [lane for lane in lanes_of(rows) if lane not in (ours, "plain")]
    if ours not in lanes_of(rows) or not peers:
        return []
    heads = ["%s %s" % (what, peer) for what in ("CPU of both proxies, of", "p50, of") for peer in peers]
    out = ["", "%s, as a share of the peers' in the same round:" % ours, "",
           "| measurement | %s |" % " | ".join(heads), "|---|" + "---:|" * len(heads)]
    for measure, title in {**BULK, **ROUND_TRIPS, **CHURN}.items():
        cells = []
        for key in ("proxies", "p50_us"):
            for peer in peers:
                theirs = {row["round"]: row.get(key) for row in rows if (row["measure"], row["lane"]) == (measure, peer)}
                cells.append(cell([row[key] / theirs[row["round"]] for row in rows
                                   if (row["measure"], row["lane"]) == (measure, ours) and row.get(key)
                                   and theirs.get(row["round"])], True))
        if any(c != "-" for c in cells):
            out.append("| %s | %s |" % (title, " | ".join(cells)))
    return out


def memory_table(rows):
    columns = [("start", "after one connection"), ("per_1000", "per 1000 idle connections"),
               ("end", "at the end, idle again")]
    out = ["| lane | %s |" % " | ".join("%s, MiB" % c[1] for c in columns), "|---|" + "---:|" * len(columns)]
    for lane in lanes_of(rows):
        pairs = []
        for key, _ in columns:
            found = [values(rows, "memory", lane, "%s_%s_kib" % (key, side)) for side in "ab"]
            pairs.append("%s / %s" % tuple(number(f[0] / 1024) for f in found) if all(found) else "-")
        if any(p != "-" for p in pairs):
            out.append("| %s | %s |" % (lane, " | ".join(pairs)))
    return out


def markdown(result):
    """The whole report of a run; `result` is what --out writes."""
    rows, facts = result["rows"], result["conditions"]
    latency = [("p50_us", "p50 us", True), ("p99_us", "p99 us", False), ("per_second", "per s", False)]
    out = ["Measured %s: %s rounds, %s." % (facts["date"], facts["rounds"], facts["machine"]), "",
           "| lane | program | cipher | certificates |", "|---|---|---|---:|"]
    for lane, fact in facts["lanes"].items():
        out.append("| %s | %s | %s | %s |" % (lane, fact["version"] or "-", fact["cipher"] or "-",
                                              "%d octets" % fact["certificates"] if fact["certificates"] else "-"))
    out += ["", "Workers: %s per proxy. Access log: %s. Congestion control: %s." %
            (facts["workers"], "on, to a file, in every lane" if facts["log"] else "off in every lane", facts["congestion"]),
            "", "### Bulk", "", "CPU-s per GiB; %s." % facts["bulk_layout"], ""]
    out += table(rows, BULK, [("gbps", "Gbit/s", True)] + PARTS)
    out += ["", "### Round trips", "", "CPU-us per round trip; %s." % facts["small_layout"], ""]
    out += table(rows, ROUND_TRIPS, latency + PARTS)
    out += ["", "### Short connections", "", "CPU-us per connection; %s." % facts["small_layout"], ""]
    out += table(rows, CHURN, latency + PARTS)
    out += ["", "### Memory", "", "Resident, client's proxy / server's proxy; %s idle connections." % facts["idle_connections"],
            ""]
    out += memory_table(rows)
    comparison = ratios(rows)
    out += ["", "### Ratios"] + comparison if comparison else []
    others = [row["others"] for row in rows if "others" in row]
    if others:
        out += ["", "Other work on the processors measured: median %.2f of one, highest %.2f." %
                (statistics.median(others), max(others))]
    return "\n".join(out) + "\n"


def replace_section(text, section):
    """`text` with what is between the markers replaced."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise LabError("the page has no place for the tables", "put these two lines into it: %s %s" % (BEGIN, END))
    return head + BEGIN + "\n\n" + section.strip() + "\n\n" + END + tail


def write_docs(path, section):
    try:
        with open(path) as handle:
            text = handle.read()
    except OSError as problem:
        raise LabError("cannot read %s: %s" % (path, problem.strerror))
    write_file(path, replace_section(text, section), 0o644)
