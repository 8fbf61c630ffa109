"""What the ledger knows of orders and tickets, read a chunk at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from boxoffice.salerecords import SaleRecords
from boxoffice.tables import orders, tickets

CHUNK = 500
LONGEST_WAIT_MS = 60_000
"""Until an order's next try."""

State = Literal["paid", "declined", "refused", "refunded", "unresolved"]


class SettledOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `orders`. Amounts in minor units, times in Unix milliseconds."""

    id: str
    sale_uid: str
    sale: str
    buyer: str
    hold: int
    fence: int
    seats: list[int]
    names: list[str]
    amount_minor: int
    currency: str
    method: str
    state: State
    placed_ms: int
    settled_ms: int
    log_id: str
    log_partition: int
    log_offset: int
    reason: str = ""
    charge_id: str = ""
    charge_minor: int = 0
    attempts: int = 1
    refunded_ms: int | None = None
    due_ms: int | None = None
    who: str = ""
    why: str = ""


class TicketRow(msgspec.Struct, frozen=True):
    order_id: str
    item: int
    sale_uid: str
    seat: int | None
    seat_name: str


class OrderRecords(SaleRecords):
    async def known_orders(self, ids: Collection[str]) -> set[str]:
        async with self.reading() as connection:
            found = await connection.execute(sa.select(orders.c.id).where(orders.c.id.in_(ids)))
            return set(found.scalars())

    async def sold_seats(self, wanted: Iterable[tuple[str, Iterable[int]]]) -> dict[tuple[str, int], str]:
        """Of the (sale uid, seats) wanted, those with a live ticket, each with the order that has it."""
        by_sale: dict[str, set[int]] = {}
        for sale_uid, seats in wanted:
            by_sale.setdefault(sale_uid, set()).update(seats)
        if not by_sale:
            return {}
        any_of = (
            sa.and_(tickets.c.sale_uid == sale_uid, tickets.c.seat.in_(sorted(seats)))
            for sale_uid, seats in by_sale.items()
        )
        statement = sa.select(tickets.c.sale_uid, tickets.c.seat, tickets.c.order_id).where(sa.or_(*any_of))
        async with self.reading() as connection:
            return {(row.sale_uid, row.seat): row.order_id for row in await connection.execute(statement)}

    async def order(self, order_id: str) -> SettledOrder | None:
        async with self.reading() as connection:
            row = (await connection.execute(sa.select(orders).where(orders.c.id == order_id))).first()
        return None if row is None else _order(row)

    async def orders_of(self, sale_uid: str, states: Sequence[State] = ()) -> AsyncIterator[list[SettledOrder]]:
        """In chunks, by id."""
        statement = sa.select(orders).where(orders.c.sale_uid == sale_uid).order_by(orders.c.id)
        if states:
            statement = statement.where(orders.c.state.in_(states))
        last = ""
        while chunk := await self._orders(statement.where(orders.c.id > last)):
            yield chunk
            last = chunk[-1].id

    async def orders_of_buyer(self, sale_uid: str, buyer: str, limit: int = 100) -> list[SettledOrder]:
        """The first ones of them, in the order in which they were placed."""
        statement = sa.select(orders).where(orders.c.buyer == buyer, orders.c.sale_uid == sale_uid)
        async with self.reading() as connection:
            found = await connection.execute(statement.order_by(orders.c.placed_ms, orders.c.id).limit(limit))
            return [_order(row) for row in found]

    async def has_arrears(self, sale_uid: str) -> bool:
        """Whether something is still to be done for an order of this sale."""
        statement = sa.select(orders.c.id).where(orders.c.sale_uid == sale_uid, orders.c.due_ms.is_not(None))
        async with self.reading() as connection:
            return (await connection.execute(statement.limit(1))).first() is not None

    async def seats_sold(self, sale_uid: str) -> int:
        live = sa.select(sa.func.count()).where(tickets.c.sale_uid == sale_uid, tickets.c.seat.is_not(None))
        async with self.reading() as connection:
            return int((await connection.execute(live.select_from(tickets))).scalar_one())

    async def orders_between(
        self, log_id: str, partition: int, start: int, stop: int
    ) -> AsyncIterator[list[SettledOrder]]:
        """What the records in [start, stop) of a partition became, in chunks, in order."""
        statement = (
            sa.select(orders)
            .where(orders.c.log_id == log_id, orders.c.log_partition == partition, orders.c.log_offset < stop)
            .order_by(orders.c.log_offset)
        )
        while chunk := await self._orders(statement.where(orders.c.log_offset >= start)):
            yield chunk
            start = chunk[-1].log_offset + 1

    async def _orders(self, statement: sa.Select[Any]) -> list[SettledOrder]:
        async with self.reading() as connection:
            return [_order(row) for row in await connection.execute(statement.limit(CHUNK))]

    async def tickets_of(self, sale_uid: str) -> AsyncIterator[list[TicketRow]]:
        """Live and refunded (seat None) ones, in chunks, by order."""
        order_id, item = "", 0
        statement = (
            sa.select(tickets)
            .where(tickets.c.sale_uid == sale_uid)
            .order_by(tickets.c.order_id, tickets.c.item)
            .limit(CHUNK)
        )
        while True:
            beyond = sa.or_(
                tickets.c.order_id > order_id,
                sa.and_(tickets.c.order_id == order_id, tickets.c.item > item),
            )
            async with self.reading() as connection:
                rows = (await connection.execute(statement.where(beyond))).all()
            if not rows:
                return
            yield [TicketRow(**row._mapping) for row in rows]
            order_id, item = rows[-1].order_id, rows[-1].item

    async def due_orders(self, now_ms: int, limit: int = 100) -> list[SettledOrder]:
        """Orders for which something is still to be done, the longest due first. What is due later than anybody
        ever waits was put there by a clock that is ahead, whose process may be dead: it is due too."""
        due = sa.or_(orders.c.due_ms <= now_ms, orders.c.due_ms > now_ms + LONGEST_WAIT_MS)
        statement = sa.select(orders).where(due).order_by(orders.c.due_ms)
        async with self.reading() as connection:
            return [_order(row) for row in await connection.execute(statement.limit(limit))]


def _order(row: Any) -> SettledOrder:
    values = dict(row._mapping)
    del values["seats_count"]
    values["seats"] = msgspec.json.decode(values["seats"])
    values["names"] = msgspec.json.decode(values["names"])
    return SettledOrder(**values)
