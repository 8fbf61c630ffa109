"""What is peculiar to MySQL and MariaDB: restarts, locks, TLS, a user who may only read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from boxoffice.errors import LedgerBusy, LedgerUnavailable
from boxoffice.ledger import open_ledger
from boxoffice.local.mysql import LocalMariaDb, LocalMySql, SqlServer
from boxoffice.migrations import migrate
from boxoffice.settings import Settings
from boxoffice.tables import positions
from tests.integration.test_ledger_contract import claim
from tests.servers_mysql import own_database

DIGEST = "1" * 64


@pytest.fixture(params=["mysql", "mariadb"])
def server(request: pytest.FixtureRequest) -> SqlServer:
    found: SqlServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def settings(server: SqlServer, settings: Settings) -> AsyncIterator[Settings]:
    async with own_database(server, settings) as changed:
        yield changed


async def test_the_reader_reads_and_writes_nothing(settings: Settings) -> None:
    await migrate(settings)
    reader = await open_ledger(settings, reading=True)
    assert await reader.sales() == []
    with pytest.raises(LedgerUnavailable, match="denied"):
        await reader.ensure_sale("tide-seoul", DIGEST, "{}", 10)
    await reader.close()


async def test_of_two_in_a_deadlock_one_is_told_to_repeat(settings: Settings) -> None:
    await migrate(settings)
    ledger = await open_ledger(settings)
    for partition in (0, 1):
        await claim(ledger, partition)
    first, both = asyncio.Event(), asyncio.Event()

    async def cross(one: int, other: int, mine: asyncio.Event, theirs: asyncio.Event) -> None:
        async with ledger.writing() as connection:
            for partition in (one, other):
                await connection.execute(
                    sa.update(positions).where(positions.c.log_partition == partition).values(applied=7)
                )
                mine.set()
                await theirs.wait()

    outcomes = await asyncio.gather(cross(0, 1, first, both), cross(1, 0, both, first), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome] == [LedgerBusy]
    await ledger.close()


async def test_connections_of_before_a_restart_fail_nobody(tmp_path: Path, settings: Settings) -> None:
    server = LocalMySql(tmp_path / "mysql")
    await server.start()
    own = replace(settings, **server.changes)
    await migrate(own)
    ledger = await open_ledger(own)
    await asyncio.gather(*(ledger.sales() for _ in range(8)))
    await server.kill()
    with pytest.raises(LedgerUnavailable):
        await ledger.sales()
    await server.start()
    assert [await ledger.sales() for _ in range(8)] == [[]] * 8
    await ledger.close()
    await server.stop()


async def test_where_tls_is_asked_for_nothing_goes_in_the_clear(tmp_path: Path, settings: Settings) -> None:
    """MariaDB 10 offers none of itself."""
    server = LocalMariaDb(tmp_path / "mariadb")
    await server.start()
    ledger = await open_ledger(replace(settings, **server.changes, ledger_ca_file="system"))
    with pytest.raises(LedgerUnavailable, match="no TLS"):
        await ledger.sales()
    await ledger.close()
    await server.stop()
