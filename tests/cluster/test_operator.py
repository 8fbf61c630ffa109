"""The operator as a pod: a sale run with kubectl, as an SRE does, and what the pods make of it."""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx2
import pytest

from boxoffice.override import ANNOTATION, Override
from boxoffice.sale import parse_sale
from boxoffice.spec import Policy
from tests.cluster.cluster import Cluster, Resource
from tests.cluster.programs import ROOT
from tests.cluster.release import Release, Values
from tests.cluster.test_two_releases import MAKE_DATABASE
from tests.cluster.usage import quantity
from tests.integration.buyer import Buyer
from tests.integration.house import resource

READY_SECONDS, EFFECT_SECONDS, TOLD_SECONDS = 60, 30.0, 60
LOOK_SECONDS = 0.05
SCRAPED_SECONDS = 60
IDLE_MEBIBYTES = 120
MEBIBYTE = 1024 * 1024


def until(holds: Callable[[], bool], seconds: float) -> float:
    """How long it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - began


class Sale:
    """A ConcertSale of the release's namespace."""

    def __init__(self, box: Release, document: Resource) -> None:
        self.box, self.document = box, document
        self.name = document["metadata"]["name"]

    def kubectl(self, *words: str) -> str:
        return self.box.cluster.kubectl(*words, namespace=self.box.namespace)

    def apply(self) -> None:
        self.box.cluster.apply(self.document, namespace=self.box.namespace)
        self.box.cluster.wait(f"csale/{self.name}", "condition=Ready", self.box.namespace, READY_SECONDS)

    def patch(self, **spec: object) -> None:
        self.kubectl("patch", "csale", self.name, "--type=merge", f"--patch={json.dumps({'spec': spec})}")

    def override(self, policy: Policy) -> None:
        text = Override(policy=policy, who="the night shift", why="a test", at=datetime.now(UTC)).text()
        self.kubectl("annotate", "--overwrite", "csale", self.name, f"{ANNOTATION}={text}")

    def get(self) -> Resource:
        return self.box.cluster.get("csale", self.name, self.box.namespace)

    def condition(self, kind: str) -> str:
        """Its reason."""
        conditions = self.get().get("status", {}).get("conditions", [])
        return "".join(each["reason"] for each in conditions if each["type"] == kind)

    def in_every_pod(self, state: str, seconds: float = EFFECT_SECONDS) -> float:
        """How long it took."""
        urls = [f"http://{pod['status']['podIP']}:8083/api/v1/sales/{self.name}/line" for pod in self.box.pods("app")]
        return until(lambda: {httpx2.get(url).json().get("state") for url in urls} == {state}, seconds)

    def told(self, kind: str, reason: str) -> None:
        until(lambda: self.condition(kind) == reason, TOLD_SECONDS)

    def annotated(self, policy: Policy) -> None:
        def there() -> str:
            return str(self.get()["metadata"].get("annotations", {}).get(ANNOTATION, ""))

        until(lambda: f'"policy":"{policy}"' in there(), TOLD_SECONDS)


@pytest.fixture
def sale(box: Release) -> Iterator[Sale]:
    """Open in every pod."""
    sale = Sale(box, resource(seats=200, name=f"kubectl-{secrets.token_hex(4)}"))
    sale.apply()
    sale.in_every_pod("open", READY_SECONDS)
    yield sale
    sale.kubectl("delete", "csale", sale.name, "--ignore-not-found", "--timeout=10s")


def test_a_sale_is_applied_and_seen(sale: Sale) -> None:
    row = sale.kubectl("get", "csale", sale.name).splitlines()[1].split()
    assert row[:4] == [sale.name, "True", "Open", "Auto"]
    assert row[-2] == "200"
    described = sale.kubectl("describe", "csale", sale.name)
    assert "SpecInForce" in described.partition("Events:")[2]


def test_an_edit_is_in_effect_in_every_pod(sale: Sale, say: Callable[[str], None]) -> None:
    sale.patch(policy="Hold")
    held = sale.in_every_pod("hold")
    sale.patch(policy="Open")
    say(f"an edit was in effect after {max(held, sale.in_every_pod('open')):.2f} s")


def test_an_override_is_in_effect_by_each_of_its_ways(sale: Sale, box: Release, say: Callable[[str], None]) -> None:
    """And each is then where the others are: in Redis, in the annotation, in the status."""
    sale.override("Hold")
    took = [sale.in_every_pod("hold")]
    sale.told("Overridden", "OverrideHold")
    by_the_admin_page(sale, "drain")
    took.append(sale.in_every_pod("drain"))
    sale.told("Overridden", "OverrideDrain")
    sale.annotated("Drain")
    box.boxoffice("sale", "hold", sale.name, "--why", "a test")
    took.append(sale.in_every_pod("hold"))
    sale.told("Overridden", "OverrideHold")
    sale.annotated("Hold")
    sale.override("Open")
    took.append(sale.in_every_pod("open"))
    say(f"an override was in effect after {max(took):.2f} s")


def by_the_admin_page(sale: Sale, action: str) -> None:
    box = sale.box
    secret = box.cluster.get("secret", f"{box.full}-admin", box.namespace)["data"]["token"]
    answer = httpx2.post(
        f"{box.url('admin')}/admin/api/sales/{sale.name}/{action}",
        headers={"authorization": f"Bearer {base64.b64decode(secret).decode()}"},
        json={"who": "the night shift", "why": "a test"},
        timeout=10,
    )
    assert answer.status_code == 200, answer.text


async def test_deleted_and_applied_again_it_goes_on(sale: Sale, box: Release) -> None:
    async with httpx2.AsyncClient(timeout=10) as client:
        buyer, waiting = (Buyer(client, box.url(), sale.name) for _ in range(2))
        await buyer.enter()
        hold = (await buyer.hold(count=2)).json()["id"]
        order = await buyer.pay_surely(hold, "once", [box.url()])
        number = (await waiting.join()).json()["number"]
        sale.kubectl("delete", "csale", sale.name, "--timeout=10s")
        sale.in_every_pod("drain", 15)
        sale.apply()
        sale.in_every_pod("open", READY_SECONDS)
        assert (await waiting.join()).json()["number"] == number
        assert (await buyer.until_settled(order["id"]))["state"] == "paid"
    assert " 0 differences" in box.boxoffice("audit", sale.name)


async def test_its_pod_replaced_in_mid_sale(sale: Sale, box: Release, cluster: Cluster) -> None:
    [pod] = box.pods("operator")
    cluster.kubectl("delete", "pod", pod["metadata"]["name"], namespace=box.namespace)
    async with httpx2.AsyncClient(timeout=10) as client:
        buyer = Buyer(client, box.url(), sale.name)
        await buyer.enter()
        assert (await buyer.hold(count=1)).status_code == 201
    cluster.rolled_out(f"deployment/{box.full}-operator", box.namespace)
    sale.patch(policy="Hold")
    sale.in_every_pod("hold", TOLD_SECONDS)
    sale.patch(policy="Open")
    sale.in_every_pod("open")


def test_its_account_may_do_no_more_than_it_does(box: Release, cluster: Cluster) -> None:
    operator = f"{box.full}-operator"
    rights = rights_of(cluster, box.namespace, operator) - rights_of(cluster, box.namespace, f"{box.full}-app")
    assert rights == {
        "concertsales.boxoffice.dev [] [] [list watch patch]",
        "concertsales.boxoffice.dev/status [] [] [patch]",
        "events [] [] [create]",
        "leases.coordination.k8s.io [] [] [create]",
        f"leases.coordination.k8s.io [] [{operator}] [get update]",
        *(f"deployments.apps [] [{box.full}-{name}] [get]" for name in ("app", "settle")),
        *(f"deployments.apps/scale [] [{box.full}-{name}] [get patch]" for name in ("app", "settle")),
    }


def rights_of(cluster: Cluster, namespace: str, account: str) -> set[str]:
    who = f"--as=system:serviceaccount:{namespace}:{account}"
    listed = cluster.kubectl("auth", "can-i", "--list", who, "--no-headers", namespace=namespace)
    return {" ".join(line.split()) for line in listed.splitlines()}


def test_it_is_small_while_nothing_goes_on(box: Release, cluster: Cluster, say: Callable[[str], None]) -> None:
    [pod] = box.pods("operator")
    name = pod["metadata"]["name"]
    cluster.wait(f"pods.metrics.k8s.io/{name}", "create", box.namespace)
    [container] = cluster.get("pods.metrics.k8s.io", name, box.namespace)["containers"]
    mebibytes = quantity(container["usage"]["memory"]) / MEBIBYTE
    say(f"the operator's pod takes {mebibytes:.0f} MiB")
    assert mebibytes <= IDLE_MEBIBYTES


def test_prometheus_answers_every_default_signal(box: Release, say: Callable[[str], None]) -> None:
    found = signal_values(box)
    say("Prometheus answers " + ", ".join(f"{name} {value:.3g}" for name, value in found.items()))
    assert found["DatabaseCpu"] > 0, "MySQL is not seen by the exporter beside it"


def signal_values(box: Release) -> dict[str, float]:
    """One number each, NaN where nothing happened; a rate of a new pod takes two scrapes."""
    signals = parse_sale((ROOT / "manifests/concertsale.yaml").read_bytes()).spec.signals
    return {signal.name: signal_value(box, signal.query) for signal in signals}


def signal_value(box: Release, query: str) -> float:
    """Raises where it is not one number."""
    answers = list[Resource]()

    def one_number() -> bool:
        answer = httpx2.get(f"{box.url('prometheus')}/api/v1/query", params={"query": query}, timeout=10).json()
        answers[:] = answer["data"]["result"]
        return len(answers) == 1

    until(one_number, SCRAPED_SECONDS)
    return float(answers[0]["value"][1])


def elsewhere(box: Release, namespace: str, database: str) -> Values:
    """In another namespace, on the same engines, with a database of its own; without pods that sell."""
    box.execute("settle", MAKE_DATABASE, f"{box.full}-mysql", database)
    for name in ("store", "ledger", "gateway"):
        data = box.cluster.get("secret", f"{box.full}-dev-{name}", box.namespace)["data"]["url"]
        url = re.sub(r"(@[^:/]+)", rf"\1.{box.namespace}", base64.b64decode(data).decode())
        url = url.replace(":3306/boxoffice", f":3306/{database}")
        metadata = {"name": f"boxoffice-{name}"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"url": url}}
        box.cluster.apply(secret, namespace=namespace)
    log = {"url": f"kafka://{box.full}-kafka.{box.namespace}:9092", "replicas": 1, "partitions": 2}
    none = {"replicas": 0, "podDisruptionBudget": {"enabled": False}}
    return {"log": log, "app": none, "settle": none, "admin": {"enabled": False}, "networkPolicy": {"enabled": False}}


def test_uninstalled_with_sales_there_it_hangs_on_nothing_and_leaves_them(box: Release, cluster: Cluster) -> None:
    with cluster.namespace() as namespace:
        leaving = Release(cluster, namespace)
        leaving.install(elsewhere(box, namespace, "boxoffice_leaving"))
        sale = Sale(leaving, resource(name="left-behind"))
        sale.apply()
        began = time.monotonic()
        leaving.uninstall("--wait", "--timeout=60s")
        assert time.monotonic() - began < 45
        assert sale.condition("Ready") == "SpecInForce"
        assert cluster.get("customresourcedefinition", "concertsales.boxoffice.dev")
        sale.kubectl("delete", "csale", sale.name, "--timeout=10s")
