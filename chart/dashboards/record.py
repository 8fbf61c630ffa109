"""Plays a night on Redis, Kafka and MySQL under a Prometheus of its own, and writes down what the dashboards showed:

    PYTHONPATH=src python chart/dashboards/record.py night.json --buyers 3000 --seats 600

`make servers` fetches what it needs. draw.py makes a picture of it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import httpx2
import msgspec
import typer
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from boxoffice.demo import Demo
from boxoffice.embedded import shipped
from boxoffice.engines import Kind
from boxoffice.local.grafana import Curve, Grafana, Span
from boxoffice.local.prometheus import LocalPrometheus
from boxoffice.report import Report
from boxoffice.sale import parse_sales
from boxoffice.stack import Stack

HERE = Path(__file__).parent
BOARDS = ("boxoffice-glance", "boxoffice-sre")
STEP, SCRAPE = 1.0, 2.0
"""Seconds. Scraped is every second; said to be two, rates are those of 8 s, which is smooth enough to look at."""
AFTER_SECONDS = 5.0


class Drawn(msgspec.Struct):
    legend: str
    points: list[tuple[float, float]]


class Panel(msgspec.Struct):
    board: str
    title: str
    unit: str
    stacked: bool
    curves: list[Drawn]


class Night(msgspec.Struct):
    title: str
    panels: list[Panel]


class Database(Collector):
    """The CPU of one process of this machine, as process-exporter says it."""

    def __init__(self, pid: int) -> None:
        self._clock = ~pid << 3 | 2  # clock_getcpuclockid(3)

    def collect(self) -> Iterator[Metric]:
        used = CounterMetricFamily("namedprocess_namegroup_cpu_seconds", "CPU seconds.", labels=["groupname"])
        used.add_metric(["mysqld"], time.clock_gettime(self._clock))
        yield used


class Watched(Demo):
    """A demo under a Prometheus."""

    panels: list[Panel]

    async def _race(self, stack: Stack) -> Report:
        async with scraping(stack) as prometheus:
            began = time.time()
            report = await super()._race(stack)
            await asyncio.sleep(AFTER_SECONDS)
            self.panels = await shown(prometheus, Span(began, time.time(), STEP))
        return report


@asynccontextmanager
async def scraping(stack: Stack) -> AsyncIterator[LocalPrometheus]:
    registry = CollectorRegistry()
    assert stack.engines.ledger
    registry.register(Database(stack.engines.ledger.children[0].pid))
    exporter, _ = start_http_server(0, "127.0.0.1", registry)
    ports = {"app": stack.serve_ports, "settle": stack.settle_ports, "mysql": [exporter.server_port]}
    targets = {job: [f"127.0.0.1:{port}" for port in of] for job, of in ports.items()}
    server = LocalPrometheus(stack.data_dir / "prometheus", targets)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
        exporter.shutdown()


async def shown(prometheus: LocalPrometheus, span: Span) -> list[Panel]:
    """Every panel that had something to show."""
    async with httpx2.AsyncClient(base_url=prometheus.url, timeout=60) as client:
        sale = {"sale": parse_sales(shipped("manifests", "concertsale-demo.yaml").read_bytes())[0].metadata.name}
        boards = [Grafana(client, HERE / f"{name}.json", SCRAPE, sale) for name in BOARDS]
        return [panel for board in boards async for panel in _panels(board, span)]


async def _panels(grafana: Grafana, span: Span) -> AsyncIterator[Panel]:
    values = await grafana.variables(span)
    kinds = {panel["id"]: panel for panel in grafana.board["panels"] if panel["type"] == "timeseries"}
    found: dict[int, list[Drawn]] = {number: [] for number in kinds}
    for query in grafana.queries():
        if query.panel in found:
            curves = await grafana.curves(query, values, span)
            found[query.panel] += [Drawn(_legend(query.legend, curve), curve.points) for curve in curves]
    for number, panel in kinds.items():
        defaults = panel["fieldConfig"]["defaults"]
        stacked = "stacking" in defaults.get("custom", {})
        if found[number]:
            yield Panel(grafana.board["uid"], panel["title"], defaults["unit"], stacked, found[number])


def _legend(text: str, curve: Curve) -> str:
    return re.sub(r"{{(\w+)}}", lambda name: curve.labels.get(name[1], ""), text)


def main(
    file: Path,
    buyers: Annotated[int, typer.Option(min=1)] = 3000,
    seats: Annotated[int, typer.Option(min=20)] = 600,
    seed: int = 1,
) -> None:
    demo = Watched(buyers=buyers, seats=seats, seed=seed, engines=Kind.production)
    kept = asyncio.run(demo.run())
    title = f"{buyers:,} buyers, {seats:,} seats; Redis, Kafka, MySQL, two serve and one settle on one machine"
    file.write_bytes(msgspec.json.encode(Night(title, demo.panels)))
    raise typer.Exit(0 if kept else 1)


if __name__ == "__main__":
    typer.run(main)
