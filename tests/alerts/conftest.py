"""One box office for all alerts: its log on a Kafka, so that it can be gone without Redis; and who watches it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from boxoffice.embedded import EmbeddedStore
from boxoffice.engines import Engines
from boxoffice.local.kafka import LocalKafka
from tests.alerts.watch import Watch, open_watch
from tests.integration.house import House, open_house

# What settlement looks at once a minute, or every ten seconds, it looks at every second, as everything has less time.
QUICK_SETTLE = """
from boxoffice import auditing, deadletters, enginewatch
auditing.EVERY_SECONDS = auditing.FIRST_SECONDS = deadletters.LOOK_SECONDS = enginewatch.EVERY_SECONDS = 1.0
from boxoffice.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alerts")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(folder: Path) -> AsyncIterator[House]:
    engines = Engines(names="a store, Kafka", store=EmbeddedStore(folder / "valkey"), log=LocalKafka(folder / "kafka"))
    async with open_house(folder, serve_processes=1, engines=engines, gateway_latency_ms=1) as house:
        await hasten(house)
        yield house


async def hasten(house: House) -> None:
    settle = house.stack.child("settle")
    python, *_ = settle.argv
    settle.argv = [python, "-c", QUICK_SETTLE, "settle"]
    await house.stack.restart("settle")
    async with house.store() as store:
        await store.execute("DEL", f"{store.instance}:audits")  # as if the lease of the one before had run out


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watch(folder: Path, house: House) -> AsyncIterator[Watch]:
    jobs = {"app": house.stack.serve_ports, "settle": house.stack.settle_ports}
    targets = {job: [f"127.0.0.1:{port}" for port in ports] for job, ports in jobs.items()}
    async with open_watch(folder, targets) as watch:
        yield watch
