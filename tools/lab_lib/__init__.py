"""The lab: a small cluster on one machine, made of network namespaces, around the real mesh programs.

Reading order: lab.py (what happens when), manifests.py (what is wanted), fabric.py (links), cni.py (a pod's network),
programs.py (certificate authority, agent, ztunnel), kubeproxy.py and names.py (service addresses and names)."""
