"""What every ledger must do, whatever database it is on."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa

from boxoffice.errors import Conflict, LedgerUnavailable
from boxoffice.ledger import Claim, Fenced, Ledger, Letter, SeatTaken, open_ledger
from boxoffice.local.mysql import SqlServer
from boxoffice.migrations import migrate
from boxoffice.orderrecords import LONGEST_WAIT_MS, SettledOrder
from boxoffice.salerecords import LineCheckpoint, SaleRecord
from boxoffice.settings import Settings
from boxoffice.tables import dead_letters, orders, positions, tickets
from tests.servers_mysql import own_database

DIGEST, OTHER_DIGEST = "1" * 64, "2" * 64


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


@pytest.fixture
async def sale(ledger: Ledger) -> SaleRecord:
    return await ledger.ensure_sale("tide-seoul", DIGEST, "{}", 5000)


async def claim(ledger: Ledger, partition: int = 0, start: int = 0) -> Claim:
    return await ledger.claim_partition("t.orders", "log-1", partition, start)


def order(sale: SaleRecord, offset: int, seats: list[int], **changes: Any) -> SettledOrder:
    values: dict[str, Any] = {
        "id": secrets.token_hex(16),
        "sale_uid": sale.uid,
        "sale": sale.name,
        "buyer": "b" * 32,
        "hold": offset,
        "fence": offset,
        "seats": seats,
        "names": [f"floor/{seat:04}" for seat in seats],
        "amount_minor": 12000 * len(seats),
        "currency": "KRW",
        "method": "pm_card_visa",
        "state": "paid",
        "placed_ms": 1,
        "settled_ms": 2,
        "log_id": "log-1",
        "log_partition": 0,
        "log_offset": offset,
        "charge_id": "ch_1",
        "charge_minor": 12000 * len(seats),
    }
    return SettledOrder(**{**values, **changes})


def letter(offset: int, payload: bytes = b"\x00\xff") -> Letter:
    return Letter(
        log_offset=offset,
        record_key=b"\xff",
        payload=payload,
        payload_digest="d" * 64,
        error="not JSON",
        attempts=1,
        first_seen_ms=5,
    )


async def count(ledger: Ledger, table: sa.Table) -> int:
    async with ledger.reading() as connection:
        return int((await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one())


# -- positions and batches ---------------------------------------------------------------------------------------


async def test_a_claim_raises_the_fence_and_keeps_the_position(ledger: Ledger, sale: SaleRecord) -> None:
    first = await claim(ledger, start=7)
    assert (first.fence, first.next, first.applied) == (1, 7, 7)
    moved = await ledger.record_batch(first, 9, 8, [], [])
    assert (moved.next, moved.applied) == (9, 8)
    again = await claim(ledger, start=0)
    assert (again.fence, again.next, again.applied) == (2, 9, 8)
    assert await ledger.positions("t.orders", "log-1") == {0: (9, 8)}


async def test_another_log_has_a_position_of_its_own(ledger: Ledger) -> None:
    await ledger.record_batch(await claim(ledger), 9, 0, [], [])
    assert (await ledger.claim_partition("t.orders", "log-2", 0, 0)).next == 0


async def test_fences_of_claims_at_once_are_all_different(ledger: Ledger) -> None:
    claims = await asyncio.gather(*(claim(ledger) for _ in range(8)))
    assert sorted(c.fence for c in claims) == list(range(1, 9))


async def test_a_batch_is_written_whole(ledger: Ledger, sale: SaleRecord) -> None:
    paid = order(sale, 0, [1, 2])
    declined = order(sale, 1, [3], state="declined", reason="no money", charge_minor=0)
    await ledger.record_batch(await claim(ledger), 3, 0, [paid, declined], [letter(2)])
    assert await ledger.order(paid.id) == paid
    assert await ledger.order(declined.id) == declined
    [rows] = [chunk async for chunk in ledger.tickets_of(sale.uid)]
    assert [(t.order_id, t.item, t.seat, t.seat_name) for t in rows] == [
        (paid.id, 0, 1, "floor/0001"),
        (paid.id, 1, 2, "floor/0002"),
    ]
    assert await count(ledger, dead_letters) == 1


async def test_a_fenced_consumer_writes_nothing(ledger: Ledger, sale: SaleRecord) -> None:
    old = await claim(ledger)
    new = await claim(ledger)
    with pytest.raises(Fenced):
        await ledger.record_batch(old, 1, 0, [order(sale, 0, [1])], [letter(0)])
    with pytest.raises(Fenced):
        await ledger.move_applied(old, 0)
    assert [await count(ledger, t) for t in (orders, tickets, dead_letters)] == [0, 0, 0]
    await ledger.record_batch(new, 1, 0, [order(sale, 0, [1])], [])


async def test_a_repeated_batch_is_refused(ledger: Ledger, sale: SaleRecord) -> None:
    """The commit went through, its answer was lost: `next` is no longer where the batch began."""
    mine = await claim(ledger)
    batch = [order(sale, 0, [1])]
    await ledger.record_batch(mine, 1, 0, batch, [])
    with pytest.raises(Fenced):
        await ledger.record_batch(mine, 1, 0, batch, [])
    assert await count(ledger, orders) == 1


async def test_a_position_that_was_put_back_ends_the_turn(ledger: Ledger) -> None:
    """The database is an older copy: of our turn, or of before the first one."""
    first = await claim(ledger)
    mine = await ledger.record_batch(first, 5, 0, [], [])
    assert await ledger.look_again(first) == mine
    async with ledger.writing() as connection:
        await connection.execute(sa.update(positions).values(next_offset=3))
    with pytest.raises(Fenced, match="from 5 to 3"):
        await ledger.look_again(mine)
    async with ledger.writing() as connection:
        await connection.execute(sa.delete(positions))
    with pytest.raises(Fenced):
        await ledger.look_again(mine)


async def test_of_two_consumers_at_once_one_writes(ledger: Ledger, sale: SaleRecord) -> None:
    mine = await claim(ledger)
    batches = [ledger.record_batch(mine, 1, 0, [order(sale, 0, [seat])], []) for seat in range(6)]
    results = await asyncio.gather(*batches, return_exceptions=True)
    assert sorted(type(r).__name__ for r in results) == ["Claim"] + ["Fenced"] * 5
    assert await count(ledger, tickets) == 1


async def test_a_seat_sold_twice_takes_the_whole_batch_back(ledger: Ledger, sale: SaleRecord) -> None:
    first = await ledger.record_batch(await claim(ledger), 1, 0, [order(sale, 0, [1, 2])], [])
    with pytest.raises(SeatTaken):
        await ledger.record_batch(first, 3, 1, [order(sale, 1, [9]), order(sale, 2, [2, 3])], [letter(2)])
    assert [await count(ledger, t) for t in (orders, tickets, dead_letters)] == [1, 2, 0]
    assert await ledger.positions("t.orders", "log-1") == {0: (1, 0)}


async def test_an_order_written_twice_takes_the_whole_batch_back(ledger: Ledger, sale: SaleRecord) -> None:
    twice = order(sale, 0, [1])
    first = await ledger.record_batch(await claim(ledger), 1, 0, [twice], [])
    with pytest.raises(SeatTaken):
        await ledger.record_batch(first, 2, 0, [twice], [])


async def test_the_same_seat_of_another_sale_is_another_seat(ledger: Ledger, sale: SaleRecord) -> None:
    other = await ledger.ensure_sale("tide-busan", DIGEST, "{}", 100)
    await ledger.record_batch(await claim(ledger), 2, 0, [order(sale, 0, [1]), order(other, 1, [1])], [])
    sold = await ledger.sold_seats([(sale.uid, [0, 1]), (other.uid, [1, 2])])
    assert sold.keys() == {(sale.uid, 1), (other.uid, 1)}


async def test_known_orders_and_sold_seats(ledger: Ledger, sale: SaleRecord) -> None:
    paid, declined = order(sale, 0, [4, 5]), order(sale, 1, [6], state="declined")
    await ledger.record_batch(await claim(ledger), 2, 0, [paid, declined], [])
    assert await ledger.known_orders({paid.id, declined.id, "f" * 32}) == {paid.id, declined.id}
    assert await ledger.known_orders(set()) == set()
    assert await ledger.sold_seats([(sale.uid, [3, 4, 6])]) == {(sale.uid, 4): paid.id}
    assert await ledger.sold_seats([]) == {}


async def test_orders_between_are_those_of_the_records_in_order_over_chunks(ledger: Ledger, sale: SaleRecord) -> None:
    batch = [order(sale, offset, [offset]) for offset in range(1300) if offset % 7]
    await ledger.record_batch(await claim(ledger), 1300, 0, batch, [])
    found = [o.log_offset async for chunk in ledger.orders_between("log-1", 0, 100, 1250) for o in chunk]
    assert found == [offset for offset in range(100, 1250) if offset % 7]
    assert [c async for c in ledger.orders_between("log-2", 0, 0, 9999)] == []


async def test_orders_and_tickets_are_streamed_whole_over_chunks(ledger: Ledger, sale: SaleRecord) -> None:
    batch = [order(sale, n, [3 * n, 3 * n + 1, 3 * n + 2]) for n in range(700)]
    await ledger.record_batch(await claim(ledger), 700, 0, batch, [])
    chunks = [chunk async for chunk in ledger.orders_of(sale.uid)]
    assert max(map(len, chunks)) <= 500
    assert {o.id for chunk in chunks for o in chunk} == {o.id for o in batch}
    seats = [t.seat async for chunk in ledger.tickets_of(sale.uid) for t in chunk]
    assert sorted(seat for seat in seats if seat is not None) == list(range(2100))
    assert [c async for c in ledger.orders_of(sale.uid, ["declined"])] == []


# -- orders that change ------------------------------------------------------------------------------------------


async def test_an_unresolved_order_becomes_paid_with_its_tickets(ledger: Ledger, sale: SaleRecord) -> None:
    waiting = order(sale, 0, [1], state="unresolved", due_ms=10)
    await ledger.record_batch(await claim(ledger), 1, 0, [waiting], [])
    assert await count(ledger, tickets) == 0
    assert await ledger.due_orders(9) == []
    assert await ledger.due_orders(10) == [waiting]
    paid = await ledger.change_order(waiting, state="paid", due_ms=None)
    assert paid is not None
    assert await ledger.order(waiting.id) == paid
    assert await count(ledger, tickets) == 1
    assert await ledger.due_orders(99) == []


async def test_an_order_of_a_clock_that_is_ahead_does_not_wait_for_it(ledger: Ledger, sale: SaleRecord) -> None:
    waiting = order(sale, 0, [1], state="unresolved", due_ms=300_000)
    await ledger.record_batch(await claim(ledger), 1, 0, [waiting], [])
    assert await ledger.due_orders(300_000 - LONGEST_WAIT_MS) == []
    assert await ledger.due_orders(300_000 - LONGEST_WAIT_MS - 1) == [waiting]


async def test_of_many_who_change_an_order_one_does(ledger: Ledger, sale: SaleRecord) -> None:
    waiting = order(sale, 0, [1], state="unresolved", due_ms=10)
    await ledger.record_batch(await claim(ledger), 1, 0, [waiting], [])
    changes = [ledger.change_order(waiting, attempts=2, due_ms=100) for _ in range(6)]
    assert sum(changed is not None for changed in await asyncio.gather(*changes)) == 1


async def test_a_seat_sold_meanwhile_leaves_the_order_as_it_was(ledger: Ledger, sale: SaleRecord) -> None:
    waiting = order(sale, 0, [1], state="unresolved", due_ms=10)
    await ledger.record_batch(await claim(ledger), 2, 0, [waiting, order(sale, 1, [1])], [])
    with pytest.raises(SeatTaken):
        await ledger.change_order(waiting, state="paid", due_ms=None)
    assert await ledger.order(waiting.id) == waiting


async def test_a_refunded_seat_can_be_sold_again_and_the_history_stays(ledger: Ledger, sale: SaleRecord) -> None:
    first = order(sale, 0, [1, 2])
    mine = await ledger.record_batch(await claim(ledger), 1, 0, [first], [])
    await ledger.change_order(first, state="refunded", refunded_ms=7)
    mine = await ledger.record_batch(mine, 2, 0, [order(sale, 1, [2])], [])
    with pytest.raises(SeatTaken):
        await ledger.record_batch(mine, 3, 0, [order(sale, 2, [2])], [])
    rows = [t async for chunk in ledger.tickets_of(sale.uid) for t in chunk]
    assert sorted((t.seat is None, t.seat_name) for t in rows) == [
        (False, "floor/0002"),
        (True, "floor/0001"),
        (True, "floor/0002"),
    ]


# -- sales -------------------------------------------------------------------------------------------------------


async def test_a_sale_has_one_uid_however_many_ensure_it(ledger: Ledger) -> None:
    records = await asyncio.gather(*(ledger.ensure_sale("tide-seoul", DIGEST, "{}", 10) for _ in range(6)))
    assert len({record.uid for record in records}) == 1
    assert [sale.name for sale in await ledger.sales()] == ["tide-seoul"]


async def test_the_seating_may_change_until_the_sale_is_opened(ledger: Ledger, sale: SaleRecord) -> None:
    changed = await ledger.ensure_sale(sale.name, OTHER_DIGEST, "{}", 20)
    assert (changed.uid, changed.seating_digest, changed.seats_total) == (sale.uid, OTHER_DIGEST, 20)
    await ledger.mark_opened(sale.uid, 1000)
    await ledger.mark_opened(sale.uid, 2000)
    with pytest.raises(Conflict) as caught:
        await ledger.ensure_sale(sale.name, DIGEST, "{}", 10)
    assert caught.value.code == "name_taken"
    same = await ledger.ensure_sale(sale.name, OTHER_DIGEST, '{"title":"new"}', 20)
    assert (same.uid, same.opened_ms, same.spec) == (sale.uid, 1000, '{"title":"new"}')


async def test_checkpoints_only_rise(ledger: Ledger, sale: SaleRecord) -> None:
    assert await ledger.checkpoint_of(sale.uid) is None
    high = LineCheckpoint(sale.uid, 2, 1000, 400, 7, 50)
    await ledger.checkpoint(high)
    for lower in (LineCheckpoint(sale.uid, 1, 9999, 9999, 0, 60), LineCheckpoint(sale.uid, 2, 0, 0, 0, 60)):
        await ledger.checkpoint(lower)
        assert await ledger.checkpoint_of(sale.uid) == high
    higher = LineCheckpoint(sale.uid, 2, 1001, 400, 7, 70)
    await ledger.checkpoint(higher)
    assert await ledger.checkpoint_of(sale.uid) == higher


async def test_sums_count_what_stands(ledger: Ledger, sale: SaleRecord) -> None:
    refunded = order(sale, 0, [1, 2])
    batch = [refunded, order(sale, 1, [3]), order(sale, 2, [4], state="declined", charge_minor=0)]
    await ledger.record_batch(await claim(ledger), 3, 0, batch, [])
    assert (await ledger.sums())[sale.uid].revenue_minor == 36000
    await ledger.change_order(refunded, state="refunded")
    sums = (await ledger.sums())[sale.uid]
    assert (sums.seats, sums.revenue_minor) == (1, 12000)
    assert sums.orders == {"paid": 1, "refunded": 1, "declined": 1}


async def test_the_trail_is_newest_first(ledger: Ledger) -> None:
    for what in ("hold", "resume"):
        await ledger.note("ana", what, "tide-seoul", "the venue asked")
    assert [entry["what"] for entry in await ledger.trail()] == ["resume", "hold"]


# -- faults and migrations ---------------------------------------------------------------------------------------


async def test_a_database_without_tables_is_unavailable(settings: Settings) -> None:
    ledger = await open_ledger(settings)
    with pytest.raises(LedgerUnavailable):
        await ledger.sales()
    await ledger.close()


async def test_many_may_migrate_at_once_and_again(settings: Settings) -> None:
    await asyncio.gather(*(migrate(settings) for _ in range(6)))
    await migrate(settings)
    ledger = await open_ledger(settings)
    assert await count(ledger, positions) == 0
    await ledger.close()


async def test_the_migrations_make_the_tables_that_the_code_declares(ledger: Ledger) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlmodel import SQLModel

    def differences(connection: sa.Connection) -> Any:
        return compare_metadata(MigrationContext.configure(connection), SQLModel.metadata)

    async with ledger.reading() as connection:
        assert await connection.run_sync(differences) == []


# -- sales that are over -----------------------------------------------------------------------------------------


async def test_a_sale_is_archived_as_it_was_seen_or_not_at_all(ledger: Ledger, sale: SaleRecord) -> None:
    changed = await ledger.ensure_sale(sale.name, DIGEST, '{"policy": "Open"}', 5000)
    assert not await ledger.mark_archived(sale)
    assert await ledger.archived_names() == set()
    assert await ledger.mark_archived(changed)
    assert not await ledger.mark_archived(changed), "it was"
    archived = await ledger.sale(sale.name)
    assert archived
    assert archived.archived_ms == archived.dropped_ms is not None
    assert await ledger.archived_names() == {sale.name}
    assert [(a["who"], a["what"], a["subject"]) for a in await ledger.trail()] == [("settle", "archive", sale.name)]
    back = await ledger.ensure_sale(sale.name, DIGEST, "{}", 5000)
    assert (back.uid, back.archived_ms, back.dropped_ms) == (sale.uid, None, None)


async def test_the_orders_of_a_buyer_in_one_sale(ledger: Ledger, sale: SaleRecord) -> None:
    other = await ledger.ensure_sale("tide-busan", DIGEST, "{}", 5000)
    first, second = order(sale, 0, [1], placed_ms=1), order(sale, 1, [2, 3], placed_ms=2)
    strangers = [order(sale, 2, [4], buyer="c" * 32), order(other, 3, [5])]
    await ledger.record_batch(await claim(ledger), 4, 0, [second, *strangers, first], [])
    assert await ledger.orders_of_buyer(sale.uid, "b" * 32) == [first, second]
    assert await ledger.orders_of_buyer(sale.uid, "b" * 32, limit=1) == [first]
    assert await ledger.orders_of_buyer(sale.uid, "d" * 32) == []


async def test_what_is_sold_and_what_is_owed(ledger: Ledger, sale: SaleRecord) -> None:
    other = await ledger.ensure_sale("tide-busan", DIGEST, "{}", 5000)
    paid, owed = order(sale, 0, [1, 2]), order(sale, 1, [3], state="unresolved", due_ms=9)
    await ledger.record_batch(await claim(ledger), 2, 0, [paid, owed], [])
    assert [await ledger.seats_sold(s.uid) for s in (sale, other)] == [2, 0]
    assert [await ledger.has_arrears(s.uid) for s in (sale, other)] == [True, False]
    await ledger.change_order(owed, state="declined", due_ms=None)
    await ledger.change_order(paid, state="refunded", refunded_ms=1)
    assert not await ledger.has_arrears(sale.uid)
    assert await ledger.seats_sold(sale.uid) == 0
