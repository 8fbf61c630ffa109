"""Redis 7 for the tests, each once a run: alone, with Sentinel, and a Cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from boxoffice.local.redis import LocalCluster, LocalRedis, LocalSentinel


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis7(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRedis]:
    """For everybody: whoever stops, wipes or kills a server starts one of their own. So it is with the others."""
    server = LocalRedis(tmp_path_factory.mktemp("redis") / "data")
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sentinel(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalSentinel]:
    servers = LocalSentinel(tmp_path_factory.mktemp("sentinel") / "data")
    await servers.start()
    yield servers
    await servers.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCluster]:
    servers = LocalCluster(tmp_path_factory.mktemp("cluster") / "data")
    await servers.start()
    yield servers
    await servers.stop()


async def move_slot(cluster: LocalCluster, key: str) -> None:
    """Of a key, with all that is in it, to another master, as `redis-cli --cluster reshard` does."""
    former = await cluster.master(key)
    masters = [child for child in cluster.processes if (await child.info("replication"))[b"role"] == b"master"]
    master = next(child for child in masters if child is not former)
    slot = await former.ask("CLUSTER", "KEYSLOT", key)
    here, there = [(await child.ask("CLUSTER", "MYID")).decode() for child in (former, master)]
    await master.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", here)
    await former.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", there)
    while keys := await former.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
        await former.ask("MIGRATE", "127.0.0.1", master.port, "", 0, 5000, "KEYS", *keys)
    for child in (master, former):
        await child.ask("CLUSTER", "SETSLOT", slot, "NODE", there)
