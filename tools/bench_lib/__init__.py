"""tools/bench: our ztunnel beside plain TCP, nginx and HAProxy, in one run.

Reading order: cli.py (what happens when), lanes.py and peers.py (what is compared), measure.py (how), account.py (what things
cost), report.py (what is said in the end)."""
