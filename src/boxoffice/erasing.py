"""Erases a rehearsal: the money back, the sale out of Redis and of the ledger. The log, the gateway's list and the
trail of who did what keep what they saw."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa

from boxoffice import sales
from boxoffice.aftermath import letter_of
from boxoffice.arrears import Arrears
from boxoffice.console import Office
from boxoffice.errors import Conflict, NotFound, Unavailable
from boxoffice.ledger import Ledger
from boxoffice.refunds import refund_sale
from boxoffice.salerecords import SaleRecord
from boxoffice.tables import checkpoints, dead_letters, orders, sales as sale_rows, samples, tickets

LOOK_SECONDS = 0.2
STEP_SECONDS = 120.0
"""Of operator or settlement, which look every few seconds, on a busy machine too."""


async def erase(office: Office, arrears: Arrears, name: str, who: str, why: str) -> None:
    """Safe to repeat when it was broken off. Raises NotFound, Conflict (no_rehearsal, resource_there), Unavailable."""
    sales.check_who_and_why(who, why)
    record = await _rehearsal(office.ledger, name)
    here = name in await office.store.names()
    if here:
        await _until_orphaned(office, name)
        await sales.override(office.store, office.ledger, name, "Closed", who, why)
    await refund_sale(office.ledger, arrears, name, who, why)
    if here:
        await _delete(office, name, who, why)
    await _forget(office.ledger, record)


async def _rehearsal(ledger: Ledger, name: str) -> SaleRecord:
    record = await ledger.sale(name)
    if record is None:
        raise NotFound(f"the ledger knows no sale named {name!r}", code="unknown_sale")
    if sales.resource(name, record.spec).spec.listing != "Rehearsal":
        text = f"{name} is no rehearsal (spec.listing): what it sold stays; `boxoffice purge` forgets who bought"
        raise Conflict(text, code="no_rehearsal")
    return record


async def _until_orphaned(office: Office, name: str) -> None:
    """An operator that still has the resource would make the sale anew."""
    for _ in range(int(STEP_SECONDS / LOOK_SECONDS)):
        key = office.store.key(name, "sale")
        namespace, orphaned = await office.store.execute("HMGET", key, "namespace", "orphaned_ms")
        if not namespace or orphaned:
            return
        await asyncio.sleep(LOOK_SECONDS)
    where = namespace.decode()
    text = (
        f"the operator has not seen that {name} is to go: kubectl delete concertsale {name} -n {where}, and repeat this"
    )
    raise Conflict(text, code="resource_there")


async def _delete(office: Office, name: str, who: str, why: str) -> None:
    """As soon as it is closed and no order is on its way."""
    last = f"{name} is not closed yet"
    for _ in range(int(STEP_SECONDS / LOOK_SECONDS)):
        await office.board.beat()
        view = office.board.views.get(name)
        try:
            if view is not None and view.ready:
                return await sales.delete(office.store, office.ledger, view, who, why)
        except Conflict as conflict:
            last = conflict.detail
        await asyncio.sleep(LOOK_SECONDS)
    raise Unavailable(f"{last}: repeat this when settlement has done it")


async def _forget(ledger: Ledger, record: SaleRecord) -> None:
    """Only of a sale that was never one: everything else stays in the ledger for good."""
    async with ledger.writing() as connection:
        for table in (tickets, orders, checkpoints, samples):
            await connection.execute(sa.delete(table).where(table.c.sale_uid == record.uid))
        await connection.execute(sa.delete(dead_letters).where(letter_of(record)))
        await connection.execute(sa.delete(sale_rows).where(sale_rows.c.uid == record.uid))
