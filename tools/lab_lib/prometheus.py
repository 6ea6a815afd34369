"""A real Prometheus in the control namespace that scrapes every program, and its page on the machine's loopback."""
import json
import os
import urllib.parse

import yaml

from . import fabric, programs
from .lab import PYTHON
from .shell import LabError, Process, netns_path, wait_for, write_file

PORT = 9090


def config():
    nodes = {node: fabric.ADDRESS[node][0] for node in fabric.NODES}

    def job(name, port):
        return {"job_name": name, "static_configs": [{"targets": ["%s:%d" % (ip, port)], "labels": {"node": node}}
                                                     for node, ip in nodes.items()]}

    authority = {"job_name": "weft-certs", "static_configs": [{"targets": ["127.0.0.1:%d" % programs.CA_STATUS_PORT]}]}
    return {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [job("ztunnel", programs.ZTUNNEL_STATS), job("weft-agent", programs.AGENT_METRICS), authority]}


class Prometheus:
    def __init__(self, lab):
        self.lab = lab
        folder = os.path.join(lab.folder, "control", "prometheus")
        os.makedirs(folder, 0o700, exist_ok=True)
        write_file(os.path.join(folder, "prometheus.yml"), yaml.safe_dump(config()))
        process = lab.programs().start(fabric.CONTROL, "prometheus", [
            "prometheus", "--config.file=" + os.path.join(folder, "prometheus.yml"),
            "--storage.tsdb.path=" + os.path.join(folder, "data"), "--web.listen-address=127.0.0.1:%d" % PORT,
            "--storage.tsdb.retention.size=256MB", "--log.level=warn"])
        lab.programs().until_ready(process, fabric.CONTROL, PORT, "/-/ready")
        forwarder, ready = Process.start("page of prometheus", [
            PYTHON, "-Es", os.path.join(os.path.dirname(os.path.abspath(__file__)), "forward.py"),
            netns_path(lab.prefix + fabric.CONTROL), str(PORT), str(PORT)],
            os.path.join(lab.folder, "control", "forward.log"), ready_pipe=True)
        lab.keep(forwarder)
        os.set_blocking(ready, False)

        def probe():
            try:
                return os.read(ready, 16)
            except BlockingIOError:
                return b""

        try:
            self.url = "http://127.0.0.1:%d/" % int(wait_for(forwarder.name, probe, 20, alive=forwarder.check_alive))
        finally:
            os.close(ready)

    def query(self, expression):
        """[(labels, number)] of an instant query."""
        status, text = programs.http_get(self.lab.prefix + fabric.CONTROL, PORT,
                                         "/api/v1/query?query=" + urllib.parse.quote(expression), limit_s=5)
        if status != 200:
            raise LabError("Prometheus answered %d to %s: %s" % (status, expression, text[:300]))
        return [(item["metric"], float(item["value"][1])) for item in json.loads(text)["data"]["result"]]

    def wait_targets(self, limit_s=30):
        """Until every target has been scraped well; the error names those that were not."""
        def down():
            return [m.get("job", "") + "@" + m.get("instance", "") for m, value in self.query("up") if value != 1]

        def probe():
            return len(self.query("up")) == 2 * len(fabric.NODES) + 1 and not down()

        try:
            wait_for("Prometheus to have every program's numbers", probe, limit_s)
        except LabError:
            status, text = programs.http_get(self.lab.prefix + fabric.CONTROL, PORT, "/api/v1/targets", limit_s=5)
            why = ["%s: %s" % (t["scrapeUrl"], t["lastError"]) for t in json.loads(text)["data"]["activeTargets"]
                   if t["lastError"]] if status == 200 else [text]
            raise LabError("Prometheus cannot scrape: %s" % ("; ".join(why) or "no target"))
