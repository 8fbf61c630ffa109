"""Pods that are replaced while buyers are at it, and pods that have more connections than room."""

from __future__ import annotations

import asyncio
import itertools
import resource as limits
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.release import Release
from tests.integration.buyer import Buyer
from tests.integration.house import resource

IDLE_SECONDS = 3.0
CONNECTIONS = 10_000


class Load:
    """Readers on connections of their own, readers on one connection, and buyers who go the whole way."""

    def __init__(self, url: str, sale: str) -> None:
        self.url, self.sale = url, sale
        self.answers: Counter[int] = Counter()
        self.failed: list[str] = []
        self.settled_after: list[float] = []
        self._keys = itertools.count()

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Until the block is left, and every buyer who has begun is done."""
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(self._read_anew(ended))
                group.create_task(self._read_on(ended))
                group.create_task(self._buy(ended))
            try:
                yield
            finally:
                ended.set()

    async def _read_anew(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            async with httpx2.AsyncClient(timeout=10) as client:
                await self._read(client)

    async def _read_on(self, ended: asyncio.Event) -> None:
        async with httpx2.AsyncClient(timeout=10) as client:
            while not ended.is_set():
                await self._read(client)

    async def _read(self, client: httpx2.AsyncClient) -> None:
        try:
            answer = await client.get(f"{self.url}/api/v1/sales/{self.sale}/line")
            self.answers[answer.status_code] += 1
        except httpx2.TransportError as error:
            self.failed.append(repr(error))
        await asyncio.sleep(0.01)

    async def _buy(self, ended: asyncio.Event) -> None:
        async with httpx2.AsyncClient(timeout=10) as client:
            while not ended.is_set():
                buyer = Buyer(client, self.url, self.sale)
                await buyer.enter()
                hold = await buyer.hold(count=1)
                assert hold.status_code == 201, hold.text
                begin = time.monotonic()
                order = await buyer.pay(hold.json()["id"], f"key-{next(self._keys)}")
                self.answers[order.status_code] += 1
                found = await buyer.until_settled(order.json()["id"])
                assert found["state"] == "paid"
                self.settled_after.append(time.monotonic() - begin)


@pytest.mark.parametrize("component", ["app", "admin", "settle"])
async def test_nobody_notices_that_pods_are_replaced(box: Release, component: str) -> None:
    sale = f"rolling-{component}"
    box.apply(resource(seats=1000, name=sale))
    load = Load(box.url(), sale)
    async with load.going_on():
        await asyncio.to_thread(box.restart, component)
    assert load.failed == []
    assert load.answers.keys() == {200, 202}
    assert len(load.settled_after) > 10
    assert max(load.settled_after) <= IDLE_SECONDS, "a partition was idle for longer"
    assert " 0 differences" in box.boxoffice("audit", sale)


async def test_ten_thousand_idle_connections_end_no_pod(box: Release, cluster: Cluster) -> None:
    """The pod has as much memory as the chart gives it; what is too much for it is refused."""
    most = limits.getrlimit(limits.RLIMIT_NOFILE)[1]
    limits.setrlimit(limits.RLIMIT_NOFILE, (most, most))
    pod = box.pods("app")[0]
    host = pod["status"]["podIP"]
    idle = [await asyncio.open_connection(host, 8083) for _ in range(CONNECTIONS)]
    try:
        async with httpx2.AsyncClient(timeout=10) as client:
            codes = {(await client.get(f"http://{host}:8083/readyz")).status_code for _ in range(20)}
            assert codes <= {200, 503}
            assert (await client.get(f"http://{host}:8083/livez")).status_code == 200
    finally:
        for _, writer in idle:
            writer.close()
    name = pod["metadata"]["name"]
    [status] = cluster.get("pod", name, box.namespace)["status"]["containerStatuses"]
    assert status["restartCount"] == 0
    assert "lastState" not in status or not status["lastState"]
