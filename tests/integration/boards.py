"""The dashboards of the chart, asked of a Prometheus as Grafana would."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from boxoffice.local.grafana import Grafana, Query, Span
from boxoffice.local.prometheus import LocalPrometheus
from tests.integration.house import House

FOLDER = Path(__file__).parents[2] / "chart/dashboards"
BOARDS = sorted(FOLDER.glob("*.json"))
NAME = re.compile(r"\b(boxoffice_\w+|process_\w+|namedprocess_\w+)\b")
OF_KINDS = re.compile(r"_(bucket|sum|count)$")


class Boards:
    def __init__(self, client: httpx2.AsyncClient, files: Sequence[Path]) -> None:
        self._client = client
        self._boards = [Grafana(client, file, scrape=1.0) for file in files]
        self._began = time.time()

    @property
    def span(self) -> Span:
        return Span(self._began, time.time(), 1.0)

    async def until_all_have_data(self, seconds: float) -> None:
        """Each at some moment since the beginning."""
        deadline = time.monotonic() + seconds
        for board in self._boards:
            left = list(board.queries())
            while left := await self._without_data(board, left):
                assert time.monotonic() < deadline, "\n".join(map(str, left))
                await asyncio.sleep(0.5)

    async def _without_data(self, board: Grafana, queries: Sequence[Query]) -> list[Query]:
        values, span = await board.variables(self.span), self.span
        found = await asyncio.gather(*(board.curves(query, values, span) for query in queries))
        return [query for query, curves in zip(queries, found, strict=True) if not curves]

    async def unknown_names(self) -> set[str]:
        """What a query asks for and nobody who was scraped has, not even without a series."""
        known = set((await self._client.get("/api/v1/metadata")).json()["data"])
        asked = {name for board in self._boards for query in board.queries() for name in names(query)}
        return {name for name in asked if not {name, OF_KINDS.sub("", name)} & known}


def names(query: Query) -> list[str]:
    return NAME.findall(query.expr)


@asynccontextmanager
async def open_boards(prometheus: LocalPrometheus, files: Sequence[Path] = BOARDS) -> AsyncIterator[Boards]:
    async with httpx2.AsyncClient(base_url=prometheus.url, timeout=20) as client:
        yield Boards(client, files)


def targets(house: House, **others: int) -> dict[str, list[str]]:
    """What a Prometheus scrapes of a house, and other jobs by their ports."""
    jobs = {"app": house.stack.serve_ports, "settle": house.stack.settle_ports}
    jobs |= {job: [port] for job, port in others.items()}
    return {job: [f"127.0.0.1:{port}" for port in ports] for job, ports in jobs.items()}


def database_page(house: House) -> str:
    """As process-exporter writes it. SQLite works inside of settlement: its CPU is the database's."""
    name = "namedprocess_namegroup_cpu_seconds_total"
    used = time.clock_gettime(~house.stack.child("settle").pid << 3 | 2)  # clock_getcpuclockid(3)
    return f'# TYPE {name} counter\n{name}{{groupname="mysqld",mode="user"}} {used}\n'


async def buy(house: House, nth: int) -> None:
    buyer = house.buyer(nth)
    await buyer.enter()
    hold = await buyer.hold(count=1)
    assert hold.status_code == 201, hold.text
    order = await buyer.pay(hold.json()["id"], f"order-{nth}")
    assert order.status_code == 202, order.text
    await buyer.until_settled(order.json()["id"])
