"""Pods that are replaced while buyers are at it, and pods that have more connections than room."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from tests.cluster.cluster import Cluster
from tests.cluster.crowd import Crowd, crowded, stories
from tests.cluster.release import Release
from tests.cluster.usage import CONNECTIONS, connected
from tests.integration.buyer import Buyer

IDLE_SECONDS = 15.0


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


async def test_nobody_notices_that_pods_are_replaced(box: Release) -> None:
    """Neither the crowd of manifests/load, by the thresholds of k6, nor those beside it, who measure too."""
    sale = "rolling"
    box.apply(crowded(sale))
    crowd = await asyncio.to_thread(lambda: Crowd(box, sale, RAMP_SECONDS="45"))
    load = Load(box.url(), sale)
    async with load.going_on():
        began = time.time()
        for component in ("settle", "app", "admin"):
            await asyncio.to_thread(replace, box, component)
            assert load.failed == [], component
        ended = time.time()
    code = await asyncio.to_thread(crowd.ended)
    assert code == 0, crowd.log()
    told = [story.ended_at_ms / 1000 for story in stories(crowd.log())]
    assert sum(began < moment < ended for moment in told) > 50
    assert ended < max(told), "the crowd was gone before the last pod was replaced"
    assert load.answers.keys() == {200, 202}
    assert len(load.settled_after) > 10
    assert max(load.settled_after) <= IDLE_SECONDS, "a partition was idle for longer"
    assert " 0 differences" in box.boxoffice("audit", sale)


def replace(box: Release, component: str) -> None:
    """Returns when the last of the old ones has said goodbye."""
    old = [pod["metadata"]["name"] for pod in box.pods(component)]
    box.restart(component)
    for name in old:
        box.cluster.wait(f"pod/{name}", "delete", box.namespace)


async def test_ten_thousand_idle_connections_end_no_pod(box: Release, cluster: Cluster) -> None:
    """The pod has as much memory as the chart gives it; what is too much for it is refused."""
    pod = box.pods("app")[0]
    host = pod["status"]["podIP"]
    async with connected(host, CONNECTIONS), httpx2.AsyncClient(timeout=10) as client:
        codes = {(await client.get(f"http://{host}:8083/readyz")).status_code for _ in range(20)}
        assert codes <= {200, 503}
        assert (await client.get(f"http://{host}:8083/livez")).status_code == 200
    name = pod["metadata"]["name"]
    [status] = cluster.get("pod", name, box.namespace)["status"]["containerStatuses"]
    assert status["restartCount"] == 0
    assert "lastState" not in status or not status["lastState"]
