"""One MySQL and one MariaDB a run, for whoever asks; who stops or slows one starts their own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio
import sqlalchemy as sa

from boxoffice.database import connect
from boxoffice.local.mysql import LocalMariaDb, LocalMySql, SqlServer
from boxoffice.settings import Settings


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


@asynccontextmanager
async def own_database(server: SqlServer, settings: Settings) -> AsyncIterator[Settings]:
    """Settings with an empty database of their own on that server."""
    database = f"boxoffice_{secrets.token_hex(4)}"
    await run_sql(server, f"CREATE DATABASE {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    try:
        yield replace(
            settings,
            ledger_url=server.url_of("boxoffice", database),
            ledger_reader_url=server.url_of("boxoffice_reader", database),
        )
    finally:
        await run_sql(server, f"DROP DATABASE {database}")


@asynccontextmanager
async def only_reading(server: SqlServer) -> AsyncIterator[None]:
    """As a master that is one no longer; root may still write."""
    await run_sql(server, "SET GLOBAL read_only = ON")
    try:
        yield
    finally:
        await run_sql(server, "SET GLOBAL read_only = OFF")


async def run_sql(server: SqlServer, *statements: str) -> list[list[tuple[object, ...]]]:
    """As root; the rows of each statement."""
    engine = connect(server.url_of("root"))
    rows = []
    try:
        async with engine.begin() as connection:
            for statement in statements:
                found = await connection.execute(sa.text(statement))
                rows.append([tuple(row) for row in found] if found.returns_rows else [])
    finally:
        await engine.dispose()
    return rows
