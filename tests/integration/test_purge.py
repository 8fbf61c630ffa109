"""Who bought is forgotten, on every database: nothing of a buyer stays, and no sum changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa

from boxoffice import purge as purging
from boxoffice.aftermath import Aftermath, aftermath_of
from boxoffice.errors import Conflict, NotFound
from boxoffice.ledger import Ledger, SeatTaken
from boxoffice.local.mysql import SqlServer
from boxoffice.purge import Purged, purge
from boxoffice.salerecords import SaleRecord
from boxoffice.settings import Settings
from boxoffice.tables import actions, dead_letters, orders, sales, samples, tickets
from tests.integration.test_ledger_contract import claim, letter, order
from tests.servers_mysql import own_database

WHY = "thirty days after"
BUYERS = [f"{i:02d}" + "ab" * 15 for i in range(10)]
PERSONAL = [*BUYERS, "pm_card", "fell ill"]
"""What must be nowhere afterwards."""


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


async def sell(ledger: Ledger, name: str, partition: int = 0) -> SaleRecord:
    """Ten buyers: two orders each, of which one is declined, and one buyer is paid back."""
    sale = await ledger.ensure_sale(name, "1" * 64, "{}", 100)
    paid = [order(sale, 2 * i, [2 * i, 2 * i + 1], buyer=b, log_partition=partition) for i, b in enumerate(BUYERS)]
    declined = [
        order(
            sale, 2 * i + 1, [50 + i], buyer=b, log_partition=partition, state="declined", reason="no", charge_minor=0
        )
        for i, b in enumerate(BUYERS)
    ]
    settled = sorted(paid + declined, key=lambda o: o.log_offset)
    payload = f'{{"sale_uid": "{sale.uid}", "buyer": "{BUYERS[0]}"'.encode()
    await ledger.record_batch(await claim(ledger, partition), 21, 0, settled, [letter(20, payload)])
    await ledger.change_order(paid[0], state="refunded", refunded_ms=3, who="the desk", why="the buyer fell ill")
    await ledger.note("the desk", "refund order", paid[0].id, "the buyer fell ill")
    async with ledger.writing() as connection:
        await connection.execute(sa.update(dead_letters).values(state="discarded", who="me", why="a test"))
    return sale


@pytest.fixture
async def sale(ledger: Ledger) -> SaleRecord:
    sale = await sell(ledger, "tide-seoul")
    await ledger.mark_dropped(sale.name)
    return sale


async def erase(ledger: Ledger, name: str = "tide-seoul") -> Purged:
    return await purge(ledger, name, "me", WHY, lambda done, of: None)


async def everything(ledger: Ledger, sale: SaleRecord | None = None) -> str:
    """All that the ledger has written, or only of a sale's orders."""
    found = []
    async with ledger.reading() as connection:
        for table in (orders,) if sale else (orders, tickets, dead_letters, actions, sales, samples):
            statement = sa.select(table).where(orders.c.sale_uid == sale.uid) if sale else sa.select(table)
            found += [repr(tuple(row)) for row in await connection.execute(statement)]
    return "\n".join(found)


def sums(found: Aftermath) -> list[Any]:
    return [found.outcomes, sorted(found.seats), sorted(s.settled_ms for s in found.sold), found.letters, found.owing]


async def test_nothing_of_a_buyer_stays_and_every_sum_does(ledger: Ledger, sale: SaleRecord) -> None:
    before = await aftermath_of(ledger, sale.name)
    written = await everything(ledger)
    assert all(text in written for text in PERSONAL)
    assert before.buyers is not None
    assert await erase(ledger) == Purged(orders=20, letters=1, reasons=1)
    after, written = await aftermath_of(ledger, sale.name), await everything(ledger)
    assert [text for text in PERSONAL if text in written] == []
    assert sums(after) == sums(before)
    assert after.buyers is None
    assert [(d.who, d.what, d.why) for d in after.deeds] == [("me", "purge", WHY)]


async def test_what_refunds_need_is_kept(ledger: Ledger, sale: SaleRecord) -> None:
    """The order's id is the charge's; who asked for a refund was no buyer."""
    before = {o.id: o async for chunk in ledger.orders_of(sale.uid) for o in chunk}
    await erase(ledger)
    after = {o.id: o async for chunk in ledger.orders_of(sale.uid) for o in chunk}
    assert after.keys() == before.keys()
    for was, now in ((before[i], after[i]) for i in before):
        assert (now.charge_id, now.charge_minor, now.seats, now.state, now.who) == (
            (was.charge_id, was.charge_minor, was.seats, was.state, was.who)
        )  # fmt: skip


async def test_in_short_steps_that_are_told(ledger: Ledger, sale: SaleRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "AT_A_TIME", 7)
    told: list[tuple[int, int]] = []
    await purge(ledger, sale.name, "me", WHY, lambda done, of: told.append((done, of)))
    assert told == [(0, 20), (7, 20), (14, 20), (20, 20)]


async def test_broken_off_it_goes_on_where_it_was(
    ledger: Ledger, sale: SaleRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "AT_A_TIME", 7)

    def stop(done: int, of: int) -> None:
        if done == 14:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await purge(ledger, sale.name, "me", WHY, stop)
    assert (await aftermath_of(ledger, sale.name)).deeds == []
    assert (await erase(ledger)).orders == 6
    assert await erase(ledger) == Purged(0, 0, 0)


async def test_another_sale_keeps_what_it_has(ledger: Ledger, sale: SaleRecord) -> None:
    other = await sell(ledger, "other-night", partition=1)
    written = await everything(ledger, other)
    await erase(ledger)
    assert await everything(ledger, other) == written
    assert (await aftermath_of(ledger, "other-night")).letters == {"discarded": 1}


async def test_a_seat_is_still_sold_once(ledger: Ledger, sale: SaleRecord) -> None:
    await erase(ledger)
    mine = await claim(ledger, partition=3)
    with pytest.raises(SeatTaken):
        await ledger.record_batch(mine, 1, 0, [order(sale, 0, [2], log_partition=3)], [])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (sa.update(sales).values(dropped_ms=None), "not_archived"),
        (sa.update(orders).where(orders.c.state == "paid").values(due_ms=5), "not_done"),
        (sa.update(orders).where(orders.c.state == "declined").values(state="unresolved"), "not_done"),
        (sa.update(dead_letters).values(state="open"), "letters_open"),
    ],
    ids=["not archived", "a refund is due", "unresolved", "a dead letter"],
)
async def test_not_while_something_is_to_be_done(ledger: Ledger, sale: SaleRecord, change: Any, code: str) -> None:
    async with ledger.writing() as connection:
        await connection.execute(change)
    written = await everything(ledger)
    with pytest.raises(Conflict) as refusal:
        await erase(ledger)
    assert refusal.value.code == code
    assert await everything(ledger) == written


async def test_an_archived_sale_may_be_forgotten(ledger: Ledger, sale: SaleRecord) -> None:
    async with ledger.writing() as connection:
        await connection.execute(sa.update(sales).values(dropped_ms=None, archived_ms=5))
    assert (await erase(ledger)).orders == 20


async def test_an_unknown_sale(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        await erase(ledger, "nobody")
