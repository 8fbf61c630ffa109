"""The default signals of manifests/concertsale.yaml: a Prometheus that scrapes real processes has a number for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from boxoffice.local.prometheus import LocalPrometheus
from boxoffice.readings import Reading
from boxoffice.sale import parse_sale
from boxoffice.traffic import Step, Traffic
from prometheus import Prometheus, open_prometheus
from tests.integration.house import House, open_house, resource
from tests.servers_prometheus import Exporter

MANIFEST = Path(__file__).parents[2] / "manifests/concertsale.yaml"
SIGNALS = parse_sale(MANIFEST.read_bytes()).spec.signals
BUYERS = 12
CPU = 0.35
OF_PODS = ("OrderLatency", "OrderErrors")

Readings = dict[str, Reading]


def process_exporter() -> str:
    """As the one beside MySQL writes it: in all CPU seconds a second."""
    name, now = "namedprocess_namegroup_cpu_seconds_total", time.time()
    return f"""\
# TYPE {name} counter
{name}{{groupname="mysqld",mode="user"}} {now * CPU * 0.7}
{name}{{groupname="mysqld",mode="system"}} {now * CPU * 0.3}
"""


@asynccontextmanager
async def scraping(folder: Path, jobs: Mapping[str, Sequence[int]]) -> AsyncIterator[Prometheus]:
    server = LocalPrometheus(folder, {job: [f"127.0.0.1:{port}" for port in ports] for job, ports in jobs.items()})
    try:
        await server.start()
        async with open_prometheus(server.url) as client:
            yield client
    finally:
        await server.stop()


async def read(prometheus: Prometheus, *names: str) -> Readings:
    """All of them, or these."""
    signals = [signal for signal in SIGNALS if not names or signal.name in names]
    return {reading.name: reading for reading in await prometheus.read(signals)}


async def until(prometheus: Prometheus, holds: Callable[[Readings], bool], *names: str) -> Readings:
    async with asyncio.timeout(60):
        while not holds(found := await read(prometheus, *names)):
            await asyncio.sleep(0.2)
    return found


def known(found: Readings) -> bool:
    """Scraped twice at least, which a rate needs."""
    return "inconclusive" not in {reading.outcome for reading in found.values()}


def seen(found: Readings) -> bool:
    """What the crowd did, and a whole window of the exporter."""
    latency, busy, cpu = (found[name].value for name in ("OrderLatency", "SettleBusy", "DatabaseCpu"))
    return latency is not None and bool(busy) and (cpu or 0) > 0.95 * CPU


async def buy(house: House, nth: int) -> None:
    buyer = house.buyer(nth)
    await buyer.enter()
    hold = await buyer.hold(count=1)
    assert hold.status_code == 201, hold.text
    order = await buyer.pay(hold.json()["id"], f"order-{nth}")
    assert order.status_code == 202, order.text
    await buyer.until_settled(order.json()["id"])


async def test_each_is_a_number_before_a_crowd_buys_and_then(tmp_path: Path) -> None:
    async with open_house(tmp_path / "house") as house, Exporter(process_exporter).open() as exporter:
        stack = house.stack
        jobs = {"app": stack.serve_ports, "settle": stack.settle_ports, "mysql": [exporter.port]}
        async with scraping(tmp_path / "prometheus", jobs) as prometheus:
            await house.apply(resource(seats=BUYERS))
            before = await until(prometheus, known)
            await asyncio.gather(*(buy(house, nth) for nth in range(BUYERS)))
            after = await until(prometheus, seen)
    assert {name: r.outcome for name, r in before.items() if r.value is None} == {"OrderLatency": "idle"}
    assert [before[name].value for name in ("SettleBusy", "OrderErrors", "SettleLag")] == [0, 0, 0]
    values = {name: reading.value for name, reading in after.items() if reading.value is not None}
    assert values.keys() == {signal.name for signal in SIGNALS}
    assert 0 <= values["LedgerPool"] <= 1
    assert 0 < values["SettleBusy"] <= 1
    assert 0 < values["OrderLatency"] < 5
    assert values["OrderErrors"] == 0
    assert values["DatabaseCpu"] == pytest.approx(CPU, rel=0.15)


def spend(traffic: Traffic, step: Step, status: int, seconds: float, times: int) -> None:
    for _ in range(times):
        traffic.count(step, status, time.perf_counter() - seconds)


@asynccontextmanager
async def pod(folder: Path, traffic: Traffic) -> AsyncIterator[Prometheus]:
    """One that has this to say, seen by Prometheus before anything happened."""
    registry = CollectorRegistry()
    registry.register(traffic)
    async with (
        Exporter(lambda: generate_latest(registry).decode()).open() as exporter,
        scraping(folder, {"app": [exporter.port]}) as prometheus,
    ):
        await until(prometheus, known, *OF_PODS)
        yield prometheus


async def test_errors_and_latency_are_those_of_work_inside(tmp_path: Path) -> None:
    """Polls, and refusals of those who are not inside, make neither better."""
    traffic = Traffic()
    async with pod(tmp_path, traffic) as prometheus:
        spend(traffic, "hold", 201, 0.15, 180)
        spend(traffic, "order", 202, 0.15, 108)
        spend(traffic, "order", 503, 0.4, 12)
        spend(traffic, "hold", 401, 0.001, 1000)
        spend(traffic, "whereabouts", 200, 0.001, 1000)
        found = await until(prometheus, lambda found: found["OrderLatency"].value is not None, *OF_PODS)
    assert found["OrderErrors"].value == pytest.approx(0.04)
    assert 0.3 < (found["OrderLatency"].value or 0) <= 0.5
    assert [reading.outcome for reading in found.values()] == ["breach", "breach"]


async def test_one_request_that_fails_slowly_brakes_nothing_in_a_quiet_window(tmp_path: Path) -> None:
    traffic = Traffic()
    async with pod(tmp_path, traffic) as prometheus:
        spend(traffic, "order", 202, 0.01, 2)
        spend(traffic, "order", 500, 0.9, 1)
        found = await until(prometheus, lambda found: all(reading.value for reading in found.values()), *OF_PODS)
    assert {reading.outcome for reading in found.values()} == {"success"}
