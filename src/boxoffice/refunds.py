"""Refunds: asked for in the ledger first, so that a crash at any later step is made good by settlement."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa

from boxoffice.arrears import AT_A_TIME, Arrears
from boxoffice.errors import Conflict, LogUnavailable, NotFound, Recovering, StoreUnavailable
from boxoffice.ledger import Ledger
from boxoffice.orderrecords import SettledOrder
from boxoffice.salerecords import action, now_ms
from boxoffice.tables import actions, orders


async def refund_order(ledger: Ledger, arrears: Arrears, order_id: str, who: str, why: str) -> SettledOrder:
    """Gives the money back and frees the seats. Repeatable. Raises NotFound, Conflict (not_paid), Unavailable."""
    order = await _known(ledger, order_id)
    if order.state == "refunded":
        return order
    if order.state != "paid":
        raise Conflict(f"order {order_id} is {order.state}: nothing to refund", code="not_paid")
    if not order.who:
        await _ask(ledger, "refund order", order_id, who, why, orders.c.id == order_id)
        order = await _known(ledger, order_id)
    await _work(arrears, order)
    return await _known(ledger, order_id)


async def refund_sale(ledger: Ledger, arrears: Arrears, sale: str, who: str, why: str) -> int:
    """All paid orders of a sale; returns how many. Close the sale first: later orders are not refunded."""
    record = await ledger.sale(sale)
    if record is None:
        raise NotFound(f"the ledger knows no sale named {sale!r}", code="unknown_sale")
    asked = await _ask(ledger, "refund sale", sale, who, why, orders.c.sale_uid == record.uid)
    async for chunk in ledger.orders_of(record.uid, ["paid"]):
        for start in range(0, len(chunk), AT_A_TIME):
            group = [order for order in chunk[start : start + AT_A_TIME] if order.who]
            await asyncio.gather(*(_work(arrears, order) for order in group))
    return asked


async def _ask(ledger: Ledger, what: str, subject: str, who: str, why: str, which: sa.ColumnElement[bool]) -> int:
    """Writes down that a refund is wanted and by whom; settlement does it even if we do not live to."""
    wanted = sa.update(orders).where(which, orders.c.state == "paid", orders.c.who == "")
    async with ledger.writing() as connection:
        asked = await connection.execute(wanted.values(who=who, why=why, due_ms=now_ms()))
        await connection.execute(sa.insert(actions), [action(who, what, subject, why)])
    return int(asked.rowcount)


async def _work(arrears: Arrears, order: SettledOrder) -> None:
    """The money comes first; when Redis or the log is away, settlement tells them later."""
    try:
        await arrears.work(order)
    except (Recovering, StoreUnavailable, LogUnavailable):
        return


async def _known(ledger: Ledger, order_id: str) -> SettledOrder:
    order = await ledger.order(order_id)
    if order is None:
        raise NotFound(f"the ledger knows no order {order_id}", code="unknown_order")
    return order
