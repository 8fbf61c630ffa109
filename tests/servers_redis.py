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
