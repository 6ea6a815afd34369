"""The user's shop, from the user's own files: every request of the table's variants that a node proxy decides, and section 6 of
the guide. Callers outside the shop are those of tests/scenarios/shop. Not here, because they need an HTTP proxy: the variants
traffic, literal-l7 and intended."""
import os

import seed
from harness import REPOSITORY, case, expect, manifests
from lab_lib import requests

unavailable = seed.unavailable
WORKLOADS = ["e-commerce/00-namespace-l4-only.yaml", "e-commerce/01-service-accounts.yaml",
             "e-commerce/10-frontend-catalog.yaml", "e-commerce/11-orders-users.yaml", "e-commerce/20-traffic.yaml"]
SECURITY = "e-commerce/30-security-literal.yaml"
GUIDE_SECURITY = "06-3-ecommerce-security.yaml"
CALLERS = {"ingress": "istio-system/ingress", "stranger": "elsewhere/stranger", "plain": "outside/plain"}
SERVICES = ("frontend", "catalog", "orders", "users")
GUARDED = ("frontend", "catalog", "orders")  # each has a policy called SERVICE-policy
IDS = ["T11"] + ["A%d" % number for number in range(1, 11)]

NO_IDENTITY = "explicitly denied by: istio-system/istio_converted_static_strict"
NOT_ALLOWED = "allow policies exist, but none allowed"


def objects():
    """Variant literal-l4, with callers."""
    found = {}
    for name in ("00-namespaces.yaml", "20-callers.yaml"):
        with open(os.path.join(REPOSITORY, "tests", "scenarios", "shop", name)) as handle:
            found.update((manifests.key_of(item), item) for item in manifests.parse(handle.read(), name))
    found.update(seed.files(WORKLOADS + [SECURITY], "ecommerce"))
    return found


def caller_of(word):
    return CALLERS.get(word, "ecommerce/" + word)


def name_of(service, caller):
    """As the caller would write it."""
    return service if caller.startswith("ecommerce/") else service + ".ecommerce"


def refusers(row):
    """The objects that refuse a row's request."""
    found = ["PeerAuthentication/default"] if row["from"] == "plain" else []
    return found + (["AuthorizationPolicy/%s-policy" % row["to"]] if row["to"] in GUARDED else [])


def run_row(mesh, row):
    caller = caller_of(row["from"])
    request = dict(row, to=name_of(row["to"], caller), **{"from": caller})
    url = "http://%s%s" % (request["to"], row["path"])
    headers = dict(row.get("headers") or {}, **({"Host": row["host"]} if "host" in row else {}))
    more = {"method": row["method"], "headers": headers}
    if row["variant"] == "traffic-l4-only":
        seed.remove(mesh, seed.apply(SECURITY, "ecommerce"))
    if row["expect"] == "closed":
        mesh.refused(caller, url, NO_IDENTITY if row["from"] == "plain" else NOT_ALLOWED, **more)
        mesh.apply(without=refusers(row))
        mesh.eventually(caller, url, 200, times=6, **more)
    else:
        mesh.eventually(caller, url, row["expect"], times=6, **more)
        got = requests.ask(mesh.lab, request)
        expect(requests.expected(request, got), "outcomes %s, versions %s" % (
            sorted({str(g["outcome"]) for g in got}), [(g.get("body") or {}).get("version") for g in got][:50]))
    mesh.reset()


def sentence_of(row):
    if "from" not in row:
        return "%s: a row of the user's table" % row["id"]
    return "%s: %s, %s asks %s for %s %s: %s" % (row["id"], row["variant"], row["from"], row["to"], row["method"], row["path"],
                                                row["expect"])


def add_case(row):
    def function(mesh):
        run_row(mesh, row)

    function.__module__ = __name__
    globals()["row_" + row["id"].lower()] = case(sentence_of(row))(function)


for _row in [{"id": name} for name in IDS] if unavailable() else seed.rows(("literal-l4", "traffic-l4-only")):
    add_case(_row)


@case("the user's table has the rows that this suite was made for")
def table_is_whole(mesh):
    missing = set(IDS) - {row["id"] for row in seed.rows(("literal-l4", "traffic-l4-only"))}
    expect(not missing, "rows are gone: %s" % sorted(missing))


def guide_security(mesh):
    """Section 6's own policies, `-n ecommerce`, in place of the shop's."""
    seed.remove(mesh, seed.apply(SECURITY, "ecommerce"))
    mesh.eventually("outside/plain", "http://catalog.ecommerce/", 200)
    policies = seed.apply(GUIDE_SECURITY, "ecommerce")
    expect(len(policies) == 4, "the guide's section has %s" % sorted(policies))
    seed.add(mesh, policies)
    return policies


@case("E-06-3-1: under the guide's STRICT plain text reaches no pod of the shop, by service or by address")
def shop_takes_no_plain_text(mesh):
    policies = guide_security(mesh)
    pods = [key for key in mesh.lab.data["pods"] if key.startswith("ecommerce/")]
    expect(len(pods) == 10, "the shop runs as %s" % pods)
    addresses = ["http://%s:8080/" % mesh.ips(pod)[0] for pod in pods] + ["http://%s.ecommerce/" % name for name in SERVICES]
    for url in addresses:
        mesh.refused("outside/plain", url, NO_IDENTITY)
    seed.remove(mesh, policies)
    for url in addresses:
        mesh.eventually("outside/plain", url, 200)
    mesh.reset()


@case("E-06-3-2, 3, 4: with the guide's policies at L4 the gateway reaches frontend, frontend reaches catalog and orders, nobody else")
def guide_policies(mesh):
    guide_security(mesh)
    may = {("ingress", "frontend"), ("frontend", "catalog"), ("frontend", "orders")}
    callers = SERVICES + ("ingress", "stranger")

    def url_for(word, service):
        return "http://%s/" % name_of(service, caller_of(word))

    for service in GUARDED:
        for word in callers:
            if (word, service) in may:
                mesh.eventually(caller_of(word), url_for(word, service), 200, times=6)
            else:
                mesh.refused(caller_of(word), url_for(word, service), NOT_ALLOWED)
    for service in GUARDED:
        mesh.apply(without=["AuthorizationPolicy/%s-policy" % service])
        for word in callers:
            mesh.eventually(caller_of(word), url_for(word, service), 200)
    mesh.reset()
