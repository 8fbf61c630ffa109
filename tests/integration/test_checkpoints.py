"""The ledger keeps the line's counters and the opening, and forgets none that Redis lost."""

from __future__ import annotations

import pytest

from boxoffice.checkpoints import Checkpoints
from boxoffice.ledger import Ledger
from boxoffice.salerecords import SaleRecord
from boxoffice.store import Store


@pytest.fixture
async def sale(ledger: Ledger) -> SaleRecord:
    return await ledger.ensure_sale("tide-seoul", "1" * 64, "{}", 10)


async def in_redis(store: Store, sale: SaleRecord, **fields: str | int) -> None:
    flat = [part for pair in fields.items() for part in pair]
    await store.execute("HSET", store.key(sale.name, "sale"), "uid", sale.uid, *flat)


async def kept(ledger: Ledger, sale: SaleRecord) -> tuple[int, ...] | None:
    point = await ledger.checkpoint_of(sale.uid)
    return None if point is None else (point.epoch, point.issued, point.called, point.lapsed)


async def test_counters_and_opening_follow_redis(store: Store, ledger: Ledger, sale: SaleRecord) -> None:
    checkpoints = Checkpoints(store, ledger)
    await in_redis(store, sale, opened_ms=0, epoch=1, issued=40, called=0, lapsed=0)
    await checkpoints.take()
    assert await kept(ledger, sale) == (1, 40, 0, 0)
    assert [record.opened_ms for record in await ledger.sales()] == [None]
    await in_redis(store, sale, opened_ms=1234, epoch=2, issued=45, called=9, lapsed=2)
    await checkpoints.take()
    await checkpoints.take()
    assert await kept(ledger, sale) == (2, 45, 9, 2)
    assert [record.opened_ms for record in await ledger.sales()] == [1234]


async def test_a_redis_that_lost_its_memory_takes_nothing_back(store: Store, ledger: Ledger, sale: SaleRecord) -> None:
    checkpoints = Checkpoints(store, ledger)
    await in_redis(store, sale, opened_ms=1234, epoch=2, issued=45, called=9, lapsed=2)
    await checkpoints.take()
    await store.execute("DEL", store.key(sale.name, "sale"))
    await checkpoints.take()
    await in_redis(store, sale, opened_ms=0, epoch=1, issued=0, called=0, lapsed=0)
    await checkpoints.take()
    assert await kept(ledger, sale) == (2, 45, 9, 2)


async def test_another_sale_of_that_name_is_not_ours(store: Store, ledger: Ledger, sale: SaleRecord) -> None:
    await in_redis(store, sale, opened_ms=5, epoch=2, issued=45, called=9, lapsed=2)
    await store.execute("HSET", store.key(sale.name, "sale"), "uid", "f" * 32)
    await Checkpoints(store, ledger).take()
    assert await kept(ledger, sale) is None
