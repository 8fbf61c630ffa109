"""What lies in Redis is on another server than a moment ago: slots that move, masters that become replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import msgspec
import pytest

from boxoffice import sales
from boxoffice.embedded import EmbeddedStore
from boxoffice.errors import Recovering, StoreUnavailable
from boxoffice.eventlog import open_log
from boxoffice.ledger import Ledger
from boxoffice.local.redis import MASTER_NAME, LocalCluster, LocalRedis, LocalSentinel, RedisProcess
from boxoffice.recovery import Recovery
from boxoffice.sale import parse_sale
from boxoffice.settings import Settings
from boxoffice.store import Store
from boxoffice.tasks import end
from tests.integration.house import SALE, resource
from tests.integration.pod import lay_out, open_pod, settings_of
from tests.integration.test_redis_modes import OTHERS
from tests.servers_redis import move_slot

AT_A_TIME = 20
MOVES = 6
LOOK_SECONDS = 0.02


class Counting:
    """Many add one to a number, over and over, and again at once when Redis does not take it now."""

    def __init__(self, store: Store) -> None:
        self.counted = 0
        self.refused = 0
        self._store = store
        self._key = store.key(SALE, "counted")
        self._workers = [asyncio.create_task(self._work()) for _ in range(AT_A_TIME)]

    async def _work(self) -> None:
        while True:
            try:
                await self._store.execute("INCR", self._key)
                self.counted += 1
            except StoreUnavailable:
                self.refused += 1
                await asyncio.sleep(LOOK_SECONDS)

    async def goes_on(self, seconds: float = 60.0) -> None:
        goal = self.counted + 10 * AT_A_TIME
        async with asyncio.timeout(seconds):
            while self.counted < goal:
                await asyncio.sleep(LOOK_SECONDS)

    async def end(self) -> int:
        """What Redis has, when no call is under way any more."""
        await end(self._workers)
        return int(await self._store.execute("GET", self._key))


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Store]:
    store = await Store.open(settings)
    try:
        yield store
    finally:
        await store.close()


def settings_on(server: LocalRedis | LocalSentinel | LocalCluster) -> Settings:
    return settings_of(cast(EmbeddedStore, server))


async def test_calls_go_on_while_their_slot_moves_and_each_counts_once(cluster: LocalCluster) -> None:
    async with opened(settings_on(cluster)) as store:
        counting = Counting(store)
        for _ in range(MOVES):
            await counting.goes_on()
            await move_slot(cluster, store.key(SALE, "counted"))
            await counting.goes_on()
        found = await counting.end()
    assert 0 <= found - counting.counted <= AT_A_TIME, "but those that were cut off with their answer on the way"


async def test_what_a_replica_refuses_is_done_when_it_is_the_master_again(tmp_path: Path) -> None:
    """As an address that follows the master looks, when it is late."""
    server, other = LocalRedis(tmp_path / "server"), LocalRedis(tmp_path / "other")
    await server.start()
    await other.start()
    try:
        async with opened(settings_on(server)) as store:
            counting = Counting(store)
            await counting.goes_on()
            await server.processes[0].ask("REPLICAOF", "127.0.0.1", other.port)
            async with asyncio.timeout(60):
                while counting.refused < 10 * AT_A_TIME:
                    await asyncio.sleep(LOOK_SECONDS)
            with pytest.raises(StoreUnavailable, match=r"is a replica|out of reach"):
                await store.execute("INCR", "counted")
            await server.processes[0].ask("REPLICAOF", "NO", "ONE")
            await counting.goes_on()
            await counting.end()
    finally:
        await server.stop()
        await other.stop()


async def is_replica(server: RedisProcess) -> bool:
    """Sentinels make all its clients call anew, whoever asks included."""
    try:
        return (await server.info("replication"))[b"role"] == b"slave"
    except StoreUnavailable:
        return False


async def test_calls_go_over_to_the_master_that_the_sentinels_name(tmp_path: Path) -> None:
    """The former one lives, and is a replica."""
    servers = LocalSentinel(tmp_path / "servers")
    await servers.start()
    try:
        async with opened(settings_on(servers)) as store:
            counting = Counting(store)
            await counting.goes_on()
            former = await servers.master()
            await servers.sentinels[0].ask("SENTINEL", "FAILOVER", MASTER_NAME)
            async with asyncio.timeout(90):
                while not await is_replica(former):
                    await asyncio.sleep(LOOK_SECONDS)
            await counting.goes_on(90)
            found = await counting.end()
            assert int(await (await servers.master()).ask("GET", store.key(SALE, "counted"))) == found
    finally:
        await servers.stop()


async def test_a_master_that_is_one_again_does_not_pass_for_never_having_been_away(tmp_path: Path) -> None:
    """What it knew last it has from the other one, which did not know all."""
    first, second = LocalRedis(tmp_path / "first"), LocalRedis(tmp_path / "second")
    await first.start()
    await second.start()
    try:
        async with opened(settings_on(first)) as store:
            await lay_out(store, resource())
            await copies(first, second)
            elsewhere = replace(settings_on(second), instance=store.instance)
            async with opened(elsewhere) as other:
                with pytest.raises(Recovering):
                    await other.call("tick", SALE, 0, 0, "", 0, 0, 0, 0)
            await copies(second, first)
            with pytest.raises(Recovering):
                await store.call("peek", SALE)
    finally:
        await first.stop()
        await second.stop()


async def copies(server: LocalRedis, replica: LocalRedis) -> None:
    """All that it has, and then the replica is a master."""
    await replica.processes[0].ask("REPLICAOF", "127.0.0.1", server.port)
    async with asyncio.timeout(90):
        while (await replica.processes[0].info("replication")).get(b"master_link_status") != b"up":
            await asyncio.sleep(LOOK_SECONDS)
    await replica.processes[0].ask("REPLICAOF", "NO", "ONE")


async def test_a_list_of_sales_that_is_lost_alone_is_written_again(
    cluster: LocalCluster, settings_for: Callable[[EmbeddedStore], Settings], ledger: Ledger
) -> None:
    settings = settings_for(cast(EmbeddedStore, cluster))
    async with opened(settings) as store:
        for name in (SALE, "dropped"):
            await sales.apply(store, ledger, parse_sale(msgspec.json.encode(resource(name=name))), "test", "test")
        await ledger.mark_dropped("dropped")
        await store.execute("DEL", f"{settings.instance}:sales")
        assert await store.names() == set()
        log = await open_log(settings, store)
        assert await Recovery(settings, store, ledger, log).look() == [], "nothing else was lost"
        assert await store.names() == {SALE}
        await log.close()


async def test_a_server_that_is_gone_takes_no_sale_of_another_with_it(tmp_path: Path) -> None:
    """It has the list of the sales, and nothing else of ours."""
    cluster = LocalCluster(tmp_path / "cluster")
    await cluster.start()
    try:
        async with open_pod(settings_on(cluster)) as pod:
            gone = await cluster.master(f"{pod.store.instance}:sales")
            sale = await sale_beside(cluster, pod.store, gone)
            await pod.apply(resource(name=sale))
            for child in cluster.processes:
                await child.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
            for child in [*await replicas_of(cluster, gone), gone]:
                await child.kill()
            with pytest.raises(StoreUnavailable):
                await pod.store.names()
            async with asyncio.timeout(60):
                for _ in range(10):
                    await pod.beat()
            buyer = pod.buyer(sale)
            await buyer.enter()
            assert (await buyer.hold(count=1)).status_code == 201
    finally:
        await cluster.stop()


async def sale_beside(cluster: LocalCluster, store: Store, master: RedisProcess) -> str:
    """A name that leads to another master."""
    for name in OTHERS:
        if await cluster.master(store.key(name, "sale")) is not master:
            return name
    raise AssertionError("they all lie on one")


async def replicas_of(cluster: LocalCluster, master: RedisProcess) -> list[RedisProcess]:
    infos = [await child.info("replication") for child in cluster.processes]
    port = str(master.port).encode()
    return [child for child, info in zip(cluster.processes, infos, strict=True) if info.get(b"master_port") == port]
