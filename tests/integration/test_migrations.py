"""The schema goes up and down with its data, on every database, and not under a sale that is open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import sqlalchemy as sa

from boxoffice.errors import Conflict
from boxoffice.ledger import open_ledger
from boxoffice.local.mysql import SqlServer
from boxoffice.migrations import check_tables, downgrade, migrate
from boxoffice.settings import Settings
from tests.integration.test_ledger_contract import claim, order
from tests.servers_mysql import own_database


@pytest.fixture(params=["sqlite", "mysql", "mariadb"])
def server(request: pytest.FixtureRequest) -> SqlServer | None:
    return None if request.param == "sqlite" else request.getfixturevalue(request.param)


@pytest.fixture
async def settings(server: SqlServer | None, settings: Settings) -> AsyncIterator[Settings]:
    if server is None:
        yield settings
    else:
        async with own_database(server, settings) as changed:
            yield changed


async def indexes(settings: Settings) -> set[str | None]:
    ledger = await open_ledger(settings)
    async with ledger.reading() as connection:
        found = await connection.run_sync(lambda c: sa.inspect(c).get_indexes("orders"))
    await ledger.close()
    return {index["name"] for index in found}


async def test_up_and_down_with_data(settings: Settings) -> None:
    await migrate(settings)
    ledger = await open_ledger(settings)
    sale = await ledger.ensure_sale("tide-seoul", "1" * 64, "{}", 10)
    paid = order(sale, 0, [1, 2])
    await ledger.record_batch(await claim(ledger), 1, 0, [paid], [])
    assert "orders_in_order" in await indexes(settings)
    await downgrade(settings, "0001")
    assert "orders_in_order" not in await indexes(settings)
    assert await ledger.order(paid.id) == paid
    await migrate(settings)
    assert await ledger.order(paid.id) == paid
    assert "orders_in_order" in await indexes(settings)
    await ledger.close()


async def test_the_archive_comes_and_goes(settings: Settings) -> None:
    await migrate(settings)
    ledger = await open_ledger(settings)
    sale = await ledger.ensure_sale("tide-seoul", "1" * 64, "{}", 10)
    assert "orders_by_buyer" in await indexes(settings)
    await downgrade(settings, "0003")
    assert "orders_by_buyer" not in await indexes(settings)
    await migrate(settings)
    assert await ledger.sale("tide-seoul") == sale
    await ledger.close()


async def test_a_migration_that_was_killed_is_repeated(settings: Settings) -> None:
    """The tables are there, the mark that they are is not."""
    await migrate(settings)
    ledger = await open_ledger(settings)
    async with ledger.writing() as connection:
        await connection.execute(sa.text("DELETE FROM alembic_version"))
    await migrate(settings)
    await ledger.close()


async def test_a_database_has_one_instance(settings: Settings) -> None:
    """Two would take each other's sales for their own."""
    await migrate(settings)
    await migrate(settings)
    await check_tables(settings)
    other = replace(settings, instance="another")
    for refused in (migrate(other), check_tables(other)):
        with pytest.raises(Conflict, match=f"{settings.instance!r}, not of 'another'"):
            await refused


async def test_under_an_open_sale_only_online(settings: Settings) -> None:
    await migrate(settings)
    ledger = await open_ledger(settings)
    sale = await ledger.ensure_sale("tide-seoul", "1" * 64, spec(closes_in=timedelta(hours=1)), 10)
    await ledger.mark_opened(sale.uid, 1)
    await downgrade(settings, "0001")
    with pytest.raises(Conflict, match="tide-seoul"):
        await migrate(settings, online=False)
    assert "orders_in_order" not in await indexes(settings)
    await migrate(settings, online=True)
    await migrate(settings, online=False)  # nothing to do, so nothing to refuse
    await ledger.close()


async def test_after_the_sale_as_ever(settings: Settings) -> None:
    await migrate(settings)
    ledger = await open_ledger(settings)
    sale = await ledger.ensure_sale("tide-seoul", "1" * 64, spec(closes_in=timedelta(hours=-1)), 10)
    await ledger.mark_opened(sale.uid, 1)
    await downgrade(settings, "0001")
    await migrate(settings, online=False)
    await ledger.close()


def spec(closes_in: timedelta) -> str:
    now = datetime.now(UTC)
    return msgspec.json.encode(
        {
            "concert": "tide",
            "title": "Tide",
            "venue": "Hall",
            "timeZone": "Asia/Seoul",
            "currency": "KRW",
            "opensTime": now - timedelta(days=1),
            "closesTime": now + closes_in,
            "seating": {"sections": [{"name": "floor", "capacity": 10, "priceMinor": 1}]},
        }
    ).decode()
