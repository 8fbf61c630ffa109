"""One MySQL and one MariaDB a run, for whoever asks; who stops or slows one starts their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from boxoffice.local.mysql import LocalMariaDb, LocalMySql


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mysql(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMySql]:
    server = LocalMySql(tmp_path_factory.mktemp("mysql"))
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mariadb(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMariaDb]:
    server = LocalMariaDb(tmp_path_factory.mktemp("mariadb"))
    await server.start()
    yield server
    await server.stop()
