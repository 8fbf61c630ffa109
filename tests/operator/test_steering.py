"""The pace follows a real Prometheus: read, decided, written where the pods read it, said in the status and logged."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from boxoffice.decisionlog import first_difference
from boxoffice.kubeapi import Account
from boxoffice.local.prometheus import LocalPrometheus
from tests.integration.house import SALE, resource
from tests.operator.apiserver import ApiServer
from tests.operator.office import Office, open_office
from tests.servers_prometheus import Exporter

AUTO = {"mode": "Auto", "initialActive": 100, "minActive": 10, "fallbackActive": 40, "maxActive": 1000}
SIGNALS = [{"name": "DatabaseCpu", "kind": "Utilisation", "query": "cpu", "setpoint": 700}]


class Gauge:
    """What the exporter says of the database."""

    def __init__(self) -> None:
        self.cpu = 0.35

    def page(self) -> str:
        return f'cpu {self.cpu}\ncpu_of{{node="one"}} 0.5\ncpu_of{{node="two"}} 0.5\n'


@pytest.fixture
def gauge() -> Gauge:
    return Gauge()


@pytest.fixture
async def prometheus(gauge: Gauge, tmp_path: Path) -> AsyncIterator[LocalPrometheus]:
    async with Exporter(gauge.page).open() as exporter:
        server = LocalPrometheus(tmp_path / "prometheus", {"database": [f"127.0.0.1:{exporter.port}"]})
        await server.start()
        yield server
        await server.stop()


@pytest.fixture
async def office(
    apiserver: ApiServer, account: Account, prometheus: LocalPrometheus, tmp_path: Path
) -> AsyncIterator[Office]:
    async with open_office(apiserver, account, tmp_path, prometheus_url=prometheus.url) as office:
        yield office


async def selling(office: Office, waiting: int, **admission: Any) -> None:
    """An open sale with a crowd before it: without demand nothing is learned."""
    office.apply(resource(seats=1000, signals=SIGNALS, admission={**AUTO, **admission}, line={"claimSeconds": 600}))
    await office.until_known_by_all()
    await office.until_state("open")
    for _ in range(waiting):
        assert (await office.house.buyer().join()).status_code == 201


async def target(office: Office) -> int:
    async with office.house.store() as store:
        return int(float(await store.execute("HGET", store.key(SALE, "sale"), "target")))


async def until_target(office: Office, low: int, high: int) -> None:
    async with asyncio.timeout(60):
        while not low <= await target(office) <= high:
            await asyncio.sleep(0.2)


async def test_a_signal_over_its_setpoint_brings_the_target_down(office: Office, gauge: Gauge) -> None:
    gauge.cpu = 1.4
    await selling(office, waiting=5)
    await until_target(office, 10, 99)
    await office.until(lambda: office.get()["status"]["admission"].get("limitedBy") == "DatabaseCpu")
    await office.until_condition("SignalsFresh", "True", "SignalsFresh")
    status = office.get()["status"]
    assert "DatabaseCpu is at 2.00 of its setpoint" in status["admission"]["reason"]
    assert status["lastDecisionTime"]
    assert "PaceLimited" in office.events()
    assert office.metric('boxoffice_control_pressure{sale="test-night",signal="DatabaseCpu"}') == 2.0
    decisions = [line for line in office.operator.log.read_bytes().splitlines() if line.startswith(b'{"sale"')]
    assert len(decisions) >= 2
    assert first_difference(decisions) is None
    said = await asyncio.to_thread(explained, office)
    assert re.search(r"^signals +kind +measured  setpoint  pressure$", said, re.MULTILINE), said
    assert re.search(r"^  DatabaseCpu  Utilisation +1\.4 +0\.7 +200 %  \w", said, re.MULTILINE), said
    assert re.search(r"^  \w+ ago .* DatabaseCpu +DatabaseCpu is at 2\.00 of its setpoint: down", said, re.MULTILINE), (
        said
    )


def explained(office: Office) -> str:
    command = [sys.executable, "-c", "from boxoffice.kubectl_sale import main; main()", "explain", SALE]
    command += [f"--namespace={office.account.namespace}"]
    done = subprocess.run(command, env=office.cluster.environment, capture_output=True, text=True, check=True)
    return done.stdout


BAD = {
    "unparsable": ("sum(cpu", "unclosed left parenthesis"),
    "two-series": ("cpu_of", "the query gives 2 series, not one: sum() or max() them"),
    "range": ("cpu[1m]", "the query gives a matrix, not a number"),
    "text": ("'cpu'", "the query gives a string, not a number"),
    "nothing": ("no_such_metric", "the query gives nothing"),
    "not-a-number": ("0 * cpu / (0 * cpu)", "the query gives NaN"),
    "infinity": ("cpu / (0 * cpu)", "the query gives inf"),
}
"""By the sale that asks it: a query that is no number, and why."""


async def test_a_bad_query_is_named_with_why_and_the_other_signals_go_on(office: Office, gauge: Gauge) -> None:
    gauge.cpu = 1.4
    bad = {"name": "Bad", "kind": "Utilisation", "setpoint": 700}
    office.apply(
        *(
            resource(name=name, signals=[{**bad, "query": query}, *SIGNALS], admission=AUTO)
            for name, (query, _) in BAD.items()
        )
    )
    for name, (_, why) in BAD.items():
        await office.until_condition("SignalsFresh", "False", "SignalsStale", name=name)
        await office.until(partial(is_braked, office, name))
        status = office.get(name)["status"]
        [message] = [each["message"] for each in status["conditions"] if each["type"] == "SignalsFresh"]
        assert message.startswith("no number now of Bad; Bad: "), name
        assert why in message
        broken, whole = status["signals"]
        assert (broken["name"], broken["state"], broken.get("value")) == ("Bad", "Stale", None), name
        assert why in broken["message"]
        assert (whole["name"], whole["state"], whole["value"]) == ("DatabaseCpu", "Fresh", 1400), name
        assert status["decisions"][-1]["activeTarget"] < 100, name


def is_braked(office: Office, name: str) -> bool:
    return any(each["limitedBy"] == "DatabaseCpu" for each in office.get(name)["status"].get("decisions", []))


async def test_advice_is_shown_and_not_done(office: Office, gauge: Gauge) -> None:
    gauge.cpu = 1.4
    await selling(office, waiting=1, mode="Advise")
    await office.until(lambda: office.get()["status"]["admission"].get("limitedBy") == "DatabaseCpu")
    assert office.get()["status"]["admission"]["reason"].startswith("advice, not in force: DatabaseCpu is at 2.00")
    assert await target(office) == 100


async def test_a_prometheus_that_is_gone_is_said_and_moves_nothing(
    office: Office, gauge: Gauge, prometheus: LocalPrometheus
) -> None:
    gauge.cpu = 0.7
    await selling(office, waiting=1)
    await office.until_condition("SignalsFresh", "True")
    before = await target(office)
    await prometheus.stop()
    await office.until_condition("SignalsFresh", "False", "SignalsStale")
    [message] = [c["message"] for c in office.get()["status"]["conditions"] if c["type"] == "SignalsFresh"]
    assert message.startswith("no number now of DatabaseCpu; DatabaseCpu: "), message
    assert await target(office) == before
    assert office.alive()
    await prometheus.start()
    await office.until_condition("SignalsFresh", "True")


async def test_no_signals_no_decision(office: Office) -> None:
    office.apply(resource(admission=AUTO))
    await office.until_condition("Admitting", "True")
    assert office.condition("SignalsFresh") == ("Unknown", "SignalsNotUsed")
    office.patch({"admission": {"initialActive": 50}})
    await until_target(office, 50, 50)
    async with office.house.store() as store:
        assert await store.execute("HGET", store.key(SALE, "sale"), "decided_ms") is None
