"""What is left of a sale in the ledger, in sums: its orders by outcome, its seats, what people did, what failed.

By statements that only read, so it works while the sale runs and when Redis has long forgotten it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from boxoffice.errors import NotFound
from boxoffice.ledger import Ledger
from boxoffice.salerecords import SaleRecord
from boxoffice.samples import Sample, samples_of
from boxoffice.tables import actions, dead_letters, orders, tickets

MOST_ACTIONS = 1000
ERASED_BUYER = "0" * 32
"""In the place of a buyer's, once `purge` has been there."""


class Outcome(msgspec.Struct, frozen=True):
    """Orders that ended alike."""

    state: str
    reason: str
    orders: int
    seats: int
    charged_minor: int


class Sold(msgspec.Struct, frozen=True):
    """An order that was paid; its seats may have been given back later. Times in Unix ms."""

    seats: int
    placed_ms: int
    settled_ms: int
    refunded_ms: int | None


class Deed(msgspec.Struct, frozen=True):
    """What somebody did to the sale."""

    at_ms: int
    who: str
    what: str
    why: str


class Buyers(msgspec.Struct, frozen=True):
    """Of paid orders."""

    count: int
    most_seats: int
    """Of one of them."""


class Aftermath(msgspec.Struct, frozen=True, kw_only=True):
    sale: SaleRecord
    samples: list[Sample]
    outcomes: list[Outcome]
    sold: list[Sold]
    seats: list[int]
    """With a live ticket."""
    buyers: Buyers | None
    """None once they are erased."""
    owing: int
    """Orders for which something is still to be done."""
    letters: dict[str, int]
    """Dead letters by their state."""
    deeds: list[Deed]


async def aftermath_of(ledger: Ledger, name: str) -> Aftermath:
    """Raises NotFound, LedgerUnavailable."""
    sale = await ledger.sale(name)
    if sale is None:
        raise NotFound(f"the ledger knows no sale named {name!r}", code="unknown_sale")
    return Aftermath(
        sale=sale,
        samples=await samples_of(ledger, sale.uid),
        outcomes=await _outcomes(ledger, sale),
        sold=[Sold(*row) for row in await _sold(ledger, sale)],
        seats=[seat for (seat,) in await _seats(ledger, sale)],
        buyers=await _buyers(ledger, sale),
        owing=await owing(ledger, sale),
        letters=dict(await _letters(ledger, sale)),
        deeds=[Deed(*row) for row in await _deeds(ledger, sale)],
    )


async def owing(ledger: Ledger, sale: SaleRecord) -> int:
    """Orders that wait for another try, a refund, or their effect."""
    undone = sa.or_(orders.c.due_ms.is_not(None), orders.c.state == "unresolved")
    statement = sa.select(sa.func.count()).where(orders.c.sale_uid == sale.uid, undone)
    return int((await _rows(ledger, statement))[0][0])


def letter_of(sale: SaleRecord) -> sa.ColumnElement[bool]:
    """Dead letters are records that could not be read: theirs is the sale whose uid is somewhere in them."""
    return sa.func.instr(dead_letters.c.payload, sa.literal(sale.uid.encode(), sa.LargeBinary())) > 0


async def _outcomes(ledger: Ledger, sale: SaleRecord) -> list[Outcome]:
    sums = (sa.func.count(), sa.func.sum(orders.c.seats_count), sa.func.sum(orders.c.charge_minor))
    alike = (orders.c.state, orders.c.reason)
    statement = sa.select(*alike, *sums).where(orders.c.sale_uid == sale.uid).group_by(*alike)
    rows = await _rows(ledger, statement.order_by(*alike))
    return [Outcome(state, reason, count, int(seats), int(charged)) for state, reason, count, seats, charged in rows]


async def _sold(ledger: Ledger, sale: SaleRecord) -> list[Any]:
    columns = (orders.c.seats_count, orders.c.placed_ms, orders.c.settled_ms, orders.c.refunded_ms)
    paid = orders.c.state.in_(("paid", "refunded"))
    return await _rows(ledger, sa.select(*columns).where(orders.c.sale_uid == sale.uid, paid))


async def _seats(ledger: Ledger, sale: SaleRecord) -> list[Any]:
    live = tickets.c.seat.is_not(None)
    return await _rows(ledger, sa.select(tickets.c.seat).where(tickets.c.sale_uid == sale.uid, live))


async def _buyers(ledger: Ledger, sale: SaleRecord) -> Buyers | None:
    bought = sa.func.sum(orders.c.seats_count).label("seats")
    paid = (orders.c.sale_uid == sale.uid, orders.c.state == "paid")
    each = sa.select(orders.c.buyer, bought).where(*paid).group_by(orders.c.buyer).subquery()
    [(count, most, first)] = await _rows(
        ledger, sa.select(sa.func.count(), sa.func.max(each.c.seats), sa.func.min(each.c.buyer))
    )
    return None if first == ERASED_BUYER else Buyers(count, int(most or 0))


async def _letters(ledger: Ledger, sale: SaleRecord) -> list[Any]:
    state = dead_letters.c.state
    return await _rows(ledger, sa.select(state, sa.func.count()).where(letter_of(sale)).group_by(state))


async def _deeds(ledger: Ledger, sale: SaleRecord) -> list[Any]:
    """An order or a dead letter may be called what a sale is called."""
    others = sa.or_(actions.c.what == "refund order", actions.c.what.like("dead letter %"))
    statement = sa.select(actions.c.at_ms, actions.c.who, actions.c.what, actions.c.why)
    statement = statement.where(actions.c.subject == sale.name, sa.not_(others)).order_by(actions.c.id.desc())
    return (await _rows(ledger, statement.limit(MOST_ACTIONS)))[::-1]


async def _rows(ledger: Ledger, statement: sa.Executable) -> list[Any]:
    async with ledger.reading() as connection:
        return [tuple(row) for row in await connection.execute(statement)]
