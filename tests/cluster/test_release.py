"""From `helm install` to a ticket sold, and what the pods may not do."""

from __future__ import annotations

import json
import re

import httpx2

from tests.cluster.cluster import Cluster
from tests.cluster.release import Release
from tests.cluster.usage import quantity
from tests.integration.buyer import Buyer
from tests.integration.house import resource

FIRST_TICKET_SECONDS = 180
IDLE_MEBIBYTES = 90
MEBIBYTE = 1024 * 1024

ASK_KUBERNETES = """
import os, ssl, sys, urllib.request
assert not os.path.exists("/var/run/secrets/kubernetes.io"), "a token is mounted"
context = ssl._create_unverified_context()
for path in ("/api/v1/namespaces/%s/secrets", "/api/v1/namespaces/%s/pods"):
    try:
        url = "https://kubernetes.default.svc" + path % sys.argv[1]
        print(urllib.request.urlopen(url, context=context, timeout=5).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""
WRITE_TO_THE_LEDGER = """
import asyncio, os, sys, aiomysql
found = {name for name in os.environ if "LEDGER" in name or "GATEWAY" in name}
assert found == {"BOXOFFICE_LEDGER_READER_URL_FILE"}, found
assert os.listdir("/run/secrets/boxoffice") and not os.path.exists("/run/secrets/boxoffice/ledger")
async def main():
    for user, password in (("boxoffice", ""), ("boxoffice_reader", sys.argv[2]), ("root", "")):
        try:
            connection = await aiomysql.connect(host=sys.argv[1], user=user, password=password, db="boxoffice")
            async with connection.cursor() as cursor:
                await cursor.execute("SELECT COUNT(*) FROM tickets")
                print(user, "may read")
                await cursor.execute("DELETE FROM tickets")
            print(user, "may write")
        except Exception as error:
            print(user, "refused", error.args[0])
asyncio.run(main())
"""


def test_from_install_to_the_first_ticket(box: Release, install_seconds: float) -> None:
    said = box.test()
    seconds = install_seconds + sum(int(ms) for ms in re.findall(r"(\d+) ms", said)) / 1000
    assert "audit: one order, one ticket, one charge, no difference" in said
    assert "erased" in said
    assert seconds < FIRST_TICKET_SECONDS


async def test_a_sale_is_sold_by_any_pod(box: Release) -> None:
    box.apply(resource(seats=20, name="any-pod"))
    async with httpx2.AsyncClient(timeout=10) as client:
        for n in range(5):
            buyer = Buyer(client, box.url(), "any-pod")
            await buyer.enter()
            hold = (await buyer.hold(count=2)).json()["id"]
            order = await buyer.pay_surely(hold, f"key-{n}", [box.url()])
            assert (await buyer.until_settled(order["id"]))["state"] == "paid"
    assert " 0 differences" in box.boxoffice("audit", "any-pod")


def test_buyers_pods_are_nobody_to_kubernetes(box: Release) -> None:
    said = box.execute("app", ASK_KUBERNETES, box.namespace)
    assert set(said.split()) <= {"401", "403"}


def test_buyers_pods_may_read_the_ledger_and_not_write_to_it(box: Release) -> None:
    said = box.execute("app", WRITE_TO_THE_LEDGER, f"{box.full}-mysql", "development-only")
    # 1045: signed in as nobody; 1142: signed in, and may only read.
    assert said.splitlines() == [
        "boxoffice refused 1045",
        "boxoffice_reader may read",
        "boxoffice_reader refused 1142",
        "root refused 1045",
    ]


def test_pods_are_small_while_nothing_goes_on(box: Release, cluster: Cluster) -> None:
    for pod in box.pods("app"):
        name = pod["metadata"]["name"]
        cluster.wait(f"pods.metrics.k8s.io/{name}", "create", box.namespace)
        [container] = cluster.get("pods.metrics.k8s.io", name, box.namespace)["containers"]
        assert quantity(container["usage"]["memory"]) / MEBIBYTE <= IDLE_MEBIBYTES


def test_nothing_was_warned_of(box: Release, cluster: Cluster) -> None:
    """Restricted PodSecurity is enforced here: each pod that runs has passed it."""
    events = cluster.select("event", namespace=box.namespace)
    assert [e["message"] for e in events if "violates PodSecurity" in e["message"]] == []


def test_metrics_are_scraped(box: Release) -> None:
    query = box.url("prometheus") + "/api/v1/query"
    with httpx2.Client(timeout=10) as client:
        answer = client.get(query, params={"query": "up == 1"}).json()
    assert {result["metric"]["job"] for result in answer["data"]["result"]} >= {"app", "settle", "operator"}, (
        json.dumps(answer)
    )
