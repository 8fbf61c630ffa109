"""Every query of every dashboard finds something in a Prometheus that scrapes a real sale."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from prometheus_client import REGISTRY, generate_latest

import loop as operator_loop
import steering
from boxoffice.local.prometheus import LocalPrometheus
from tests.integration.boards import buy, database_page, open_boards, targets
from tests.integration.house import SALE, House, open_house, resource
from tests.servers_prometheus import Exporter

BUYERS = 16
INSIDE = 8
SECONDS = 60.0
"""Ten until the first audit, whatever the machine; the rest is for one that is busy."""

OF_OPERATOR = ("boxoffice_operator_", "boxoffice_control_")


def operator_page() -> str:
    """The operator's own metrics, with numbers of ours: it cannot run without a cluster."""
    steering.TARGET.labels(SALE).set(INSIDE + time.time() % 2)
    steering.PRESSURE.labels(SALE, "DatabaseCpu").set(0.8)
    steering.STALE.labels(SALE, "DatabaseCpu").set(0)
    steering.BLIND.labels(SALE).set(0)
    operator_loop.LIMITED.labels(SALE, "DatabaseCpu").set(1)
    operator_loop.LAST.set_to_current_time()
    operator_loop.WRITER.set(1)
    operator_loop.LOOKS.observe(0.2)
    text = generate_latest(REGISTRY).decode()
    return "".join(f"{line}\n" for line in text.splitlines() if any(name in line for name in OF_OPERATOR))


@asynccontextmanager
async def scraped(house: House, folder: Path) -> AsyncIterator[LocalPrometheus]:
    database = Exporter(partial(database_page, house))
    async with Exporter(operator_page).open() as operator, database.open():
        server = LocalPrometheus(folder, targets(house, operator=operator.port, mysql=database.port))
        try:
            await server.start()
            yield server
        finally:
            await server.stop()


async def test_every_query_has_data(tmp_path: Path) -> None:
    async with (
        open_house(tmp_path / "house") as house,
        scraped(house, tmp_path / "prometheus") as prometheus,
        open_boards(prometheus) as boards,
    ):
        await house.apply(resource(seats=BUYERS, active=INSIDE))
        await asyncio.gather(*(buy(house, nth) for nth in range(BUYERS)))
        await boards.until_all_have_data(SECONDS)
        assert not await boards.unknown_names()
