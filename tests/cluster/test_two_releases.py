"""Releases that share engines, one that is installed again, and one that lacks something."""

from __future__ import annotations

import json

import httpx2

from tests.cluster.cluster import Cluster
from tests.cluster.release import Release, Values
from tests.integration.buyer import Buyer
from tests.integration.house import resource

SALE = "shared-name"

MAKE_DATABASE = """
import asyncio, sys, aiomysql
async def main():
    connection = await aiomysql.connect(host=sys.argv[1], user="boxoffice", password="development-only")
    async with connection.cursor() as cursor:
        await cursor.execute(f"CREATE DATABASE IF NOT EXISTS {sys.argv[2]}")
    connection.close()
asyncio.run(main())
"""
READY = """
import urllib.error, urllib.request
try:
    print(urllib.request.urlopen("http://127.0.0.1:8083/readyz").status)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


def beside(box: Release, ledger: str, **more: object) -> Values:
    """On the engines that the first release brought, with a database of its own, as every release has."""
    database = f"boxoffice_{ledger}"
    box.execute("settle", MAKE_DATABASE, f"{box.full}-mysql", database)
    url = f"mysql+aiomysql://boxoffice:development-only@{box.full}-mysql:3306/{database}"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"ledger-{ledger}"},
        "stringData": {"url": url},
    }
    box.cluster.apply(secret, namespace=box.namespace)
    return {
        "store": {"secretName": f"{box.full}-dev-store"},
        "log": {"url": f"kafka://{box.full}-kafka:9092", "replicas": 1, "partitions": 2},
        "ledger": {"secretName": f"ledger-{ledger}"},
        "gateway": {"secretName": f"{box.full}-dev-gateway"},
        "app": {"replicas": 1},
        "settle": {"replicas": 1},
        "operator": {"enabled": False},  # one looks after the namespace
        "networkPolicy": {"enabled": False},
        **more,
    }


async def buy(release: Release, sale: str, key: str) -> str:
    """The order's id, once it is paid."""
    async with httpx2.AsyncClient(timeout=10) as client:
        buyer = Buyer(client, release.url(), sale)
        await buyer.enter()
        hold = (await buyer.hold(count=1)).json()["id"]
        order = await buyer.pay_surely(hold, key, [release.url()])
        assert (await buyer.until_settled(order["id"]))["state"] == "paid"
        return str(order["id"])


def sold(release: Release, sale: str) -> int:
    listed = json.loads(release.boxoffice("sale", "list", "-o", "json"))["sales"]
    found: dict[str, int] = {each["name"]: each["sold"] for each in listed}
    return found.get(sale, -1)


async def test_two_releases_on_the_same_engines_never_meet(box: Release, cluster: Cluster) -> None:
    """The same Redis, Kafka and MySQL; the same name of a sale on both."""
    other = Release(cluster, box.namespace, "other")
    other.install(beside(box, "other"))
    try:
        box.apply(resource(seats=10, name=SALE))
        assert sold(other, SALE) == -1
        other.apply(resource(seats=30, name=SALE))
        await buy(box, SALE, "the same key")
        await buy(other, SALE, "the same key")
        await buy(other, SALE, "another key")
        assert (sold(box, SALE), sold(other, SALE)) == (1, 2)
        assert " 0 differences" in box.boxoffice("audit", SALE)
        assert " 0 differences" in other.boxoffice("audit", SALE)
    finally:
        other.uninstall("--wait")


async def test_installed_again_under_another_name_it_goes_on_with_the_sale(box: Release, cluster: Cluster) -> None:
    first = Release(cluster, box.namespace, "first")
    first.install(beside(box, "travels", instance="travelling"))
    first.apply(resource(seats=10, name="travels"))
    await buy(first, "travels", "one")
    first.uninstall("--wait")
    second = Release(cluster, box.namespace, "second")
    keys = {"create": True, "keysName": f"{first.full}-keys", "adminName": f"{first.full}-admin"}
    second.install(beside(box, "travels", instance="travelling", secrets=keys))
    try:
        await buy(second, "travels", "two")
        assert sold(second, "travels") == 2
        assert " 0 differences" in second.boxoffice("audit", "travels")
    finally:
        second.uninstall("--wait")


def test_a_pod_says_what_it_lacks_and_comes_up_when_it_is_there(box: Release, cluster: Cluster) -> None:
    lacking = Release(cluster, box.namespace, "lacking")
    values = beside(box, "lacking", store={"secretName": "not-there-yet"}, migrate={"enabled": False})
    lacking.install(values, "--wait=false")
    try:
        cluster.wait(f"deployment/{lacking.full}-app", "jsonpath={.status.replicas}=1", box.namespace)
        [pod] = lacking.pods("app")
        name = f"pod/{pod['metadata']['name']}"
        cluster.wait(name, "jsonpath={.status.containerStatuses[0].started}=true", box.namespace)
        said = cluster.execute(name, "python3", "-c", READY, namespace=box.namespace)
        assert said.startswith("503")
        assert "BOXOFFICE_STORE_URL_FILE" in said
        address = cluster.get("secret", f"{box.full}-dev-store", box.namespace)["data"]
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "not-there-yet"}, "data": address}
        cluster.apply(secret, namespace=box.namespace)
        cluster.wait(name, "condition=Ready", box.namespace, seconds=180)
        assert lacking.pods("app")[0]["status"]["containerStatuses"][0]["restartCount"] == 0
    finally:
        lacking.uninstall()
        cluster.kubectl("delete", "secret", "not-there-yet", "--ignore-not-found", namespace=box.namespace)


def test_uninstall_hangs_on_nothing_and_takes_no_keys(cluster: Cluster, box: Release) -> None:
    gone = Release(cluster, box.namespace, "gone")
    gone.install(beside(box, "gone"))
    gone.uninstall("--wait", "--timeout=60s")
    assert gone.pods("app") == []
    cluster.get("secret", f"{gone.full}-keys", box.namespace)
    assert cluster.get("customresourcedefinition", "concertsales.boxoffice.dev")
