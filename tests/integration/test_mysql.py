"""What is peculiar to MySQL and MariaDB: restarts, locks, TLS, a user who may only read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from boxoffice import database
from boxoffice.database import DEADLINE_SECONDS, connect
from boxoffice.errors import LedgerBusy, LedgerUnavailable
from boxoffice.ledger import Ledger, open_ledger
from boxoffice.local.mysql import LocalMariaDb, LocalMySql, SqlServer
from boxoffice.migrations import downgrade, migrate
from boxoffice.settings import Settings
from boxoffice.tables import orders, positions
from tests.integration.test_ledger_contract import claim, order
from tests.servers_mysql import only_reading, own_database

DIGEST = "1" * 64
ROWS = int(os.environ.get("BOXOFFICE_TEST_ROWS", "100000"))
AT_A_TIME = 20_000
WRITE_SECONDS = 15.0
"""A batch takes milliseconds; one that waited for the table would take as long as the index."""


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


@pytest.mark.parametrize(
    "rest", ["", "x' OR '1'='1", '"', "\\", "\\'", "%s %(a)s %%", "\0\n\r\x1a\t", "한국어'", "🎫\\"]
)
async def test_text_of_many_rows_comes_back_as_it_was(settings: Settings, rest: str) -> None:
    await migrate(settings)
    ledger = await open_ledger(settings)
    sale = await ledger.ensure_sale("tide-seoul", DIGEST, "{}", 10)
    odd = order(sale, 2, [3], reason=rest, charge_id=rest, names=[rest], due_ms=7)
    batch = [order(sale, 1, [1, 2]), odd, order(sale, 3, [4], who="'" + rest)]
    await ledger.record_batch(await claim(ledger), 4, 0, batch, [])
    assert [await ledger.order(each.id) for each in batch] == batch
    names = {row.seat: row.seat_name async for chunk in ledger.tickets_of(sale.uid) for row in chunk}
    assert names[3] == rest
    await ledger.close()


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


async def test_who_stands_still_with_a_row_in_hand_loses_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it goes on with then is refused."""
    assert database.IDLE_SECONDS < DEADLINE_SECONDS, "a partition goes on by itself within half a minute"
    monkeypatch.setattr(database, "IDLE_SECONDS", 1)
    await migrate(settings)
    zombie, other = await open_ledger(settings), await open_ledger(settings)
    await claim(other, 0)
    change = sa.update(positions).where(positions.c.log_partition == 0)

    async def stand_still() -> None:
        async with zombie.writing() as connection:
            await connection.execute(change.values(applied=7))
            async with asyncio.timeout(60), other.writing() as free:
                await free.execute(change.values(applied=8))
            await connection.execute(change.values(applied=9))

    with pytest.raises(LedgerUnavailable):
        await stand_still()
    async with other.reading() as connection:
        assert await connection.scalar(sa.select(positions.c.applied)) == 8
    await zombie.close()
    await other.close()


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


async def test_a_server_that_only_reads_is_turned_away_from(server: SqlServer, settings: Settings) -> None:
    """The address may lead to another one by now."""
    await migrate(settings)
    ledger = Ledger(connect(settings.ledger_url, pool=1))
    before = await connection_id(ledger)
    assert await connection_id(ledger) == before
    async with only_reading(server):
        with pytest.raises(LedgerUnavailable, match="read-only"):
            await ledger.ensure_sale("tide-seoul", DIGEST, "{}", 10)
        assert await ledger.sales() == []
    assert await connection_id(ledger) != before
    await ledger.ensure_sale("tide-seoul", DIGEST, "{}", 10)
    await ledger.close()


async def connection_id(ledger: Ledger) -> int:
    async with ledger.reading() as connection:
        return int((await connection.execute(sa.text("SELECT CONNECTION_ID()"))).scalar_one())


async def test_where_tls_is_asked_for_nothing_goes_in_the_clear(tmp_path: Path, settings: Settings) -> None:
    """MariaDB 10 offers none of itself."""
    server = LocalMariaDb(tmp_path / "mariadb")
    await server.start()
    ledger = await open_ledger(replace(settings, **server.changes, ledger_ca_file="system"))
    with pytest.raises(LedgerUnavailable, match="no TLS"):
        await ledger.sales()
    await ledger.close()
    await server.stop()


async def test_a_large_table_gets_an_index_while_settlement_writes(settings: Settings) -> None:
    await migrate(settings)
    ledger = await open_ledger(settings)
    sale = await ledger.ensure_sale("tide-seoul", DIGEST, "{}", 10)
    await downgrade(settings, "0001")
    mine = await ledger.record_batch(await claim(ledger), 1, 0, [order(sale, 0, [0])], [])
    await multiply_orders(ledger, ROWS)
    migrating, batches = asyncio.create_task(migrate(settings, online=True)), 0
    while not migrating.done():
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                mine = await ledger.record_batch(mine, mine.next + 1, 0, [order(sale, mine.next, [mine.next])], [])
        except LedgerBusy:
            continue  # rolled back in favour of the other; settlement repeats it too
        batches += 1
    await migrating
    assert batches
    async with ledger.reading() as connection:
        rows = (await connection.execute(sa.text("SELECT COUNT(*) FROM orders"))).scalar_one()
    assert rows == ROWS + batches
    await ledger.close()


async def multiply_orders(ledger: Ledger, rows: int) -> None:
    """Copies the one order until there are so many, each with an id of its own; a transaction has a deadline."""
    columns = ", ".join(column.name for column in orders.c if column.name != "id")
    copy = f"INSERT INTO orders (id, {columns}) SELECT LPAD(HEX(:n + ROW_NUMBER() OVER ()), 32, '0'), {columns} "
    copy += "FROM (SELECT * FROM orders LIMIT :most) AS few"
    have = 1
    while have < rows:
        async with ledger.writing() as connection:
            most = min(have, rows - have, AT_A_TIME)
            await connection.execute(sa.text(copy), {"n": have, "most": most})
        have += most
