"""Plays cluster DNS: the names of services and pods as a hosts file per namespace of callers."""

DOMAIN = "cluster.local"


def hosts(namespace, services, endpoints):
    """The hosts file for pods of `namespace`: service names in all their spellings, and pods of headless services."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    for service in services:
        meta, spec = service["metadata"], service["spec"]
        if spec.get("type") == "ExternalName":
            continue
        base = "%s.%s" % (meta["name"], meta["namespace"])
        spellings = ["%s.svc.%s" % (base, DOMAIN), base + ".svc", base]
        if meta["namespace"] == namespace:
            spellings.append(meta["name"])
        pods = endpoints(service)
        if spec.get("clusterIP") == "None":
            addresses = [item["ip"] for pod in pods for item in pod["status"].get("podIPs") or []]
        else:
            addresses = spec.get("clusterIPs") or []
        lines += ["%s %s" % (address, " ".join(spellings)) for address in addresses]
        for pod in pods:
            hostname = pod["spec"].get("hostname")
            if hostname and pod["spec"].get("subdomain") == meta["name"]:
                for item in pod["status"].get("podIPs") or []:
                    lines.append("%s %s" % (item["ip"], " ".join("%s.%s" % (hostname, s) for s in spellings)))
    return "\n".join(lines) + "\n"
