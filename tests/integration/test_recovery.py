"""What is not to be rebuilt."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest

from boxoffice import recovery, sales
from boxoffice.errors import StoreUnavailable
from boxoffice.eventlog import open_log
from boxoffice.ledger import Ledger
from boxoffice.recovery import Recovery
from boxoffice.sale import parse_sale
from boxoffice.salerecords import SaleRecord
from boxoffice.seating import Seating
from boxoffice.settings import Settings
from boxoffice.store import Store
from tests.integration.house import SALE, resource


def patient(settings: Settings) -> Settings:
    """What a test does meanwhile takes its time on a busy machine."""
    return replace(settings, recovery_wait_seconds=5.0)


async def test_a_sale_that_is_just_being_applied_is_not_lost(settings: Settings, store: Store, ledger: Ledger) -> None:
    """It is in the ledger first, and when that is slow it is there alone for a while."""
    sale = parse_sale(msgspec.json.encode(resource()))
    seating, log = Seating.of(sale.spec), await open_log(settings, store)
    await ledger.ensure_sale(SALE, seating.digest, msgspec.json.encode(sale.spec).decode(), seating.total)
    looking = asyncio.create_task(Recovery(patient(settings), store, ledger, log).look())
    async with asyncio.timeout(60):
        while not await store.execute("EXISTS", store.key(SALE, "recovery")):
            await asyncio.sleep(0.01)
    assert await sales.apply(store, ledger, sale, "test", "test"), "it is new in Redis"
    assert await looking == []
    assert await store.execute("HGET", store.key(SALE, "sale"), "recovered_ms") == b"0"
    assert not await store.execute("EXISTS", store.key(SALE, "recovery"))
    await log.close()


async def test_a_sale_that_is_archived_meanwhile_is_not_brought_back(
    settings: Settings, store: Store, ledger: Ledger
) -> None:
    """Recovery finds it gone from Redis, and had read of it in the ledger a moment before the mark."""
    log = await open_log(settings, store)
    await sales.apply(store, ledger, parse_sale(msgspec.json.encode(resource())), "test", "test")
    await store.execute("DEL", store.key(SALE, "sale"))
    looking = asyncio.create_task(Recovery(patient(settings), store, ledger, log).look())
    async with asyncio.timeout(60):
        while not await store.execute("EXISTS", store.key(SALE, "recovery")):
            await asyncio.sleep(0.01)
    sale = await ledger.sale(SALE)
    assert sale
    assert await ledger.mark_archived(sale)
    assert await looking == []
    assert not await store.execute("EXISTS", store.key(SALE, "sale"))
    await log.close()


async def test_a_server_of_a_cluster_that_is_away_keeps_nobody_else_waiting() -> None:
    sales = [SaleRecord(str(n), f"sale-{n}", "", 1, "{}", 0, None, None) for n in range(3)]
    away = {"sale-0"}

    async def ask(sale: SaleRecord) -> str:
        if sale.name in away:
            raise StoreUnavailable("its server is away")
        return sale.uid

    assert await recovery._of_each(sales, ask) == {"sale-1": "1", "sale-2": "2"}
    away |= {"sale-1", "sale-2"}
    with pytest.raises(StoreUnavailable):
        await recovery._of_each(sales, ask)
    assert await recovery._of_each([], ask) == {}
