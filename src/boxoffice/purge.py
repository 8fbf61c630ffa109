"""Forgets whose orders a sale had, and keeps the sums: which columns, and why, is in docs/after-the-sale.md.

In short transactions, each of some hundred orders, so that it may be broken off and repeated, and is in nobody's way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from boxoffice.aftermath import ERASED_BUYER, letter_of, owing
from boxoffice.errors import Conflict, NotFound
from boxoffice.ledger import Ledger
from boxoffice.salerecords import SaleRecord, action
from boxoffice.tables import actions, dead_letters, orders

AT_A_TIME = 500
ERASED = "erased"

Tell = Callable[[int, int], None]
"""How many orders are done, and of how many."""


class Purged(msgspec.Struct, frozen=True):
    orders: int
    letters: int
    reasons: int
    """Of refunds, in the trail."""


async def purge(ledger: Ledger, name: str, who: str, why: str, tell: Tell) -> Purged:
    """Raises NotFound, Conflict (not_archived, not_done, letters_open), LedgerUnavailable: repeat it."""
    sale = await check(ledger, name)
    done, reasons = await _orders(ledger, sale, tell)
    letters = await _letters(ledger, sale)
    async with ledger.writing() as connection:
        await connection.execute(sa.insert(actions), [action(who, "purge", name, why)])
    return Purged(done, letters, reasons)


async def check(ledger: Ledger, name: str) -> SaleRecord:
    """That nothing of the sale is still to be done for a buyer who is to be forgotten."""
    sale = await ledger.sale(name)
    if sale is None:
        raise NotFound(f"the ledger knows no sale named {name!r}", code="unknown_sale")
    if sale.dropped_ms is None and sale.archived_ms is None:
        text = f"{name} is not archived: settle does that some minutes after it is closed and all is settled"
        raise Conflict(text, code="not_archived")
    if undone := await owing(ledger, sale):
        raise Conflict(f"{undone} orders of {name} wait for a refund or another try: purge later", code="not_done")
    if letters := await _count(ledger, dead_letters, letter_of(sale), dead_letters.c.state == "open"):
        text = f"{letters} dead letters of {name} are open: replay or discard them first (boxoffice dlq list)"
        raise Conflict(text, code="letters_open")
    return sale


async def _orders(ledger: Ledger, sale: SaleRecord, tell: Tell) -> tuple[int, int]:
    """Which of them change is seen first, without a lock; they are settled and nobody else changes them."""
    known = sa.or_(orders.c.buyer != ERASED_BUYER, orders.c.method != "", orders.c.why.not_in(("", ERASED)))
    which = (orders.c.sale_uid == sale.uid, known)
    total = await _count(ledger, orders, *which)
    statement = sa.select(orders.c.id).where(*which).order_by(orders.c.id).limit(AT_A_TIME)
    done, reasons, last = 0, 0, ""
    tell(done, total)
    while ids := await _ids(ledger, statement.where(orders.c.id > last)):
        reasons += await _forget(ledger, ids)
        done, last = done + len(ids), ids[-1]
        tell(done, total)
    return done, reasons


async def _forget(ledger: Ledger, ids: list[str]) -> int:
    """Who asked for a refund was staff and stays; why may speak of the buyer."""
    reason = sa.case((orders.c.why == "", ""), else_=ERASED)
    of_refunds = (actions.c.what == "refund order", actions.c.subject.in_(ids), actions.c.why != ERASED)
    async with ledger.writing() as connection:
        forget = sa.update(orders).where(orders.c.id.in_(ids))
        await connection.execute(forget.values(buyer=ERASED_BUYER, method="", why=reason))
        return (await connection.execute(sa.update(actions).where(*of_refunds).values(why=ERASED))).rowcount


async def _letters(ledger: Ledger, sale: SaleRecord) -> int:
    """What is left of them says whose they were, so that the report still counts them."""
    rest = f"{ERASED}; of the sale {sale.uid}".encode()
    known = (letter_of(sale), dead_letters.c.payload != rest)
    statement = sa.select(dead_letters.c.id).where(*known).order_by(dead_letters.c.id).limit(AT_A_TIME)
    done = 0
    while ids := await _ids(ledger, statement):
        async with ledger.writing() as connection:
            erase = sa.update(dead_letters).where(dead_letters.c.id.in_(ids))
            await connection.execute(erase.values(payload=rest, record_key=b"", why=ERASED))
        done += len(ids)
    return done


async def _ids(ledger: Ledger, statement: sa.Select[Any]) -> list[Any]:
    async with ledger.reading() as connection:
        return list((await connection.execute(statement)).scalars())


async def _count(ledger: Ledger, table: sa.Table, *which: sa.ColumnElement[bool]) -> int:
    async with ledger.reading() as connection:
        return int((await connection.execute(sa.select(sa.func.count()).select_from(table).where(*which))).scalar_one())
