"""How a sale stands is written into the ledger once a slot, as long as it is on and Redis remembers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from boxoffice import sales
from boxoffice.ledger import Ledger
from boxoffice.sale import parse_sale
from boxoffice.salerecords import SaleRecord
from boxoffice.samples import Sample, Samples, samples_of
from boxoffice.store import Store
from tests.integration.house import SALE, resource

Apply = Callable[..., Awaitable[SaleRecord]]
SLOT_MS = 1
"""So short that none is filled twice."""


@pytest.fixture
def apply(store: Store, ledger: Ledger) -> Apply:
    async def make(**changes: Any) -> SaleRecord:
        await sales.apply(store, ledger, parse_sale(msgspec.json.encode(resource(**changes))), "test", "test")
        found = await ledger.sale(changes.get("name", SALE))
        assert found
        return found

    return make


async def beat(store: Store, *places: str) -> None:
    """So many join, and a pod's beat goes by."""
    for place in places:
        assert (await store.call("join", SALE, place * 16, "10.0.0.1", ""))[0] == b"ok"
    await store.execute("HINCRBY", store.key(SALE, "sale"), "last_ms", -1000)
    await store.call("tick", SALE, 0, 0, "", 0, 0, 0, 0)


async def kept(ledger: Ledger, sale: SaleRecord) -> list[Sample]:
    return await samples_of(ledger, sale.uid)


async def test_the_line_and_the_house_in_numbers(store: Store, ledger: Ledger, apply: Apply) -> None:
    sale = await apply(seats=40, active=20)
    await beat(store, "a", "b", "c", "d", "e")
    await Samples(store, ledger, SLOT_MS).take()
    [found] = await kept(ledger, sale)
    called = found.called
    assert 1 <= called < 5
    assert (found.stage, found.policy, found.issued, found.waiting) == ("open", "Open", 5, 5 - called)
    assert (found.target, found.active, found.claims, found.holds, found.sold) == (20, 0, 0, 0, 0)


async def test_a_buyer_inside_with_seats(store: Store, ledger: Ledger, apply: Apply) -> None:
    sale = await apply(seats=40)
    await beat(store, "a")
    now = int((await store.execute("HGET", store.key(SALE, "sale"), "last_ms")).decode())
    _, sid, until, *_ = await store.call("claim", SALE, "a" * 16, 1, 2, now)
    reply = await store.call("take", SALE, "a" * 16, sid, now, until, 1, "named", 3, 4)
    assert reply[0] == b"ok"
    await Samples(store, ledger, SLOT_MS).take()
    [found] = await kept(ledger, sale)
    assert (found.active, found.claims, found.holds, found.held) == (1, 1, 1, 2)


async def test_one_a_slot_whoever_comes_first(store: Store, ledger: Ledger, apply: Apply) -> None:
    sale = await apply()
    hour = 3_600_000
    processes = [Samples(store, ledger, hour) for _ in range(3)]
    for process in processes * 2:
        await process.take()
    assert len(await kept(ledger, sale)) == 1


async def test_none_before_anybody_may_join(store: Store, ledger: Ledger, apply: Apply) -> None:
    sale = await apply(
        preQueueTime="2190-01-01T00:00:00Z", opensTime="2190-01-01T00:00:00Z", closesTime="2190-01-02T00:00:00Z"
    )
    await Samples(store, ledger, SLOT_MS).take()
    assert await kept(ledger, sale) == []


async def test_of_a_sale_that_is_over_only_what_changes(store: Store, ledger: Ledger, apply: Apply) -> None:
    sale, samples = await apply(), Samples(store, ledger, SLOT_MS)
    await sales.override(store, ledger, SALE, "Closed", "test", "over")
    for _ in range(3):
        await samples.take()
    await store.execute("HSET", store.key(SALE, "sale"), "sold", 1)
    for _ in range(3):
        await samples.take()
    assert [(s.stage, s.policy, s.sold) for s in await kept(ledger, sale)] == [
        ("closed", "Closed", 0),
        ("closed", "Closed", 1),
    ]


async def test_what_a_redis_without_memory_says_was_never_so(store: Store, ledger: Ledger, apply: Apply) -> None:
    sale, samples = await apply(), Samples(store, ledger, SLOT_MS)
    record = store.key(SALE, "sale")
    mine = await store.execute("HGET", record, "run_id")
    for forget in (
        ("HSET", record, "run_id", "another"),
        ("HSET", record, "run_id", mine, "uid", "f" * 32),
        ("DEL", record),
    ):
        await store.execute(*forget)
        await samples.take()
    assert await kept(ledger, sale) == []


async def test_one_sale_that_is_lost_does_not_hide_the_others(store: Store, ledger: Ledger, apply: Apply) -> None:
    await apply(name="a-night")
    sale = await apply()
    await store.execute("HSET", store.key("a-night", "sale"), "run_id", "another")
    await Samples(store, ledger, SLOT_MS).take()
    assert len(await kept(ledger, sale)) == 1
