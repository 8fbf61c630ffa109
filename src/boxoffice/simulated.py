"""A payment gateway for one machine: latency, declines, faults and test cards, and charges that last.

Concurrent calls share a transaction, so that one fsync carries many charges.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from boxoffice.database import connect
from boxoffice.errors import GatewayUnavailable
from boxoffice.gateway import Charge, ChargeRecord, Outcome
from boxoffice.settings import Settings
from boxoffice.tasks import end

MOST_AT_ONCE = 500
MOST_WAITING = 10_000
SLOW_SECONDS = 2.0

logger = logging.getLogger(__name__)

_metadata = sa.MetaData()

charges = sa.Table(
    "charges",
    _metadata,
    sa.Column("order_id", sa.CHAR(32), primary_key=True),
    sa.Column("sale_uid", sa.CHAR(32), nullable=False, index=True),
    sa.Column("buyer", sa.CHAR(32), nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.CHAR(3), nullable=False),
    sa.Column("method", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(255), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("changed_ms", sa.BigInteger, nullable=False),
)


class _Wish(NamedTuple):
    """`charge` is what to capture; None: refund `order`."""

    order: str
    charge: Charge | None
    done: asyncio.Future[Outcome]


class SimulatedGateway:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = connect(settings.gateway_url)
        self._wishes: asyncio.Queue[_Wish] = asyncio.Queue(MOST_WAITING)

    @classmethod
    async def open(cls, settings: Settings) -> SimulatedGateway:
        gateway = cls(settings)
        try:
            with _as_unavailable():
                async with gateway._engine.execution_options(writes=True).begin() as connection:
                    await connection.run_sync(_metadata.create_all)
        except GatewayUnavailable:
            await gateway._engine.dispose()
            raise
        gateway._writing = asyncio.create_task(gateway._write_forever())
        return gateway

    _writing: asyncio.Task[None]

    async def capture(self, charge: Charge) -> Outcome:
        await asyncio.sleep(self._latency_seconds(charge))
        return await self._wish(charge.order, charge)

    async def refund(self, order: str) -> None:
        await self._wish(order, None)

    async def _wish(self, order: str, charge: Charge | None) -> Outcome:
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        try:
            self._wishes.put_nowait(_Wish(order, charge, done))
        except asyncio.QueueFull:
            raise GatewayUnavailable("the gateway has too much to do") from None
        return await done

    async def lookup(self, order: str) -> Outcome | None:
        with _as_unavailable():
            async with self._engine.connect() as connection:
                statement = sa.select(charges).where(charges.c.order_id == order)
                row = (await connection.execute(statement)).first()
        return None if row is None or row.state == "faulted" else _outcome(row)

    async def charges(self, sale_uid: str) -> AsyncIterator[list[ChargeRecord]]:
        last = ""
        columns = (charges.c.order_id, charges.c.sale_uid, charges.c.amount_minor, charges.c.currency)
        statement = (
            sa.select(*columns, charges.c.state)
            .where(charges.c.sale_uid == sale_uid)
            .order_by(charges.c.order_id)
            .limit(MOST_AT_ONCE)
        )
        while True:
            with _as_unavailable():
                async with self._engine.connect() as connection:
                    found = await connection.execute(statement.where(charges.c.order_id > last))
                    rows = [ChargeRecord(*row) for row in found]
            if not rows:
                return
            yield rows
            last = rows[-1].order

    async def close(self) -> None:
        await end([self._writing])
        await self._engine.dispose()

    def _latency_seconds(self, charge: Charge) -> float:
        """Half to one and a half times the average, always the same for an order."""
        if charge.method == "pm_card_slow":
            return SLOW_SECONDS
        return self._settings.gateway_latency_ms / 1000 * (0.5 + _draw(charge.order, "latency") / 1000)

    async def _write_forever(self) -> None:
        while True:
            wishes = [await self._wishes.get()]
            while len(wishes) < MOST_AT_ONCE and not self._wishes.empty():
                wishes.append(self._wishes.get_nowait())
            try:
                with _as_unavailable():
                    outcomes = await self._write(wishes)
            except Exception as error:
                logger.exception("charges not written")
                _fail(wishes, str(error))
                continue
            for wish in wishes:
                if not wish.done.done():
                    wish.done.set_result(outcomes[wish.order])

    async def _write(self, wishes: list[_Wish]) -> dict[str, Outcome]:
        """One transaction; the outcomes are durable when it returns."""
        async with self._engine.execution_options(writes=True).begin() as connection:
            ids = [wish.order for wish in wishes]
            found = await connection.execute(sa.select(charges).where(charges.c.order_id.in_(ids)))
            states = {row.order_id: row for row in found}
            new: dict[str, dict[str, str | int]] = {}
            for wish in wishes:
                known = states.get(wish.order)
                was = str(new[wish.order]["state"]) if wish.order in new else known.state if known else ""
                state, reason = self._decide(wish, was)
                if state != was:
                    new[wish.order] = _row(wish, state, reason)
            await _store(connection, [row for order, row in new.items() if order not in states])
            for order in new.keys() & states.keys():
                changes = {name: new[order][name] for name in ("state", "reason", "changed_ms")}
                where = charges.c.order_id == order
                await connection.execute(sa.update(charges).where(where).values(changes))
            found = await connection.execute(sa.select(charges).where(charges.c.order_id.in_(ids)))
            return {row.order_id: _outcome(row) for row in found}

    def _decide(self, wish: _Wish, was: str) -> tuple[str, str]:
        """The state that follows on `was` ("" when the order is new), and why."""
        if wish.charge is None:
            return ("refunded", "refunded") if was in ("paid", "refunded") else ("cancelled", "cancelled")
        if was not in ("", "faulted"):
            return was, ""
        return self._judge(wish.charge, first=not was)

    def _judge(self, charge: Charge, first: bool) -> tuple[str, str]:
        settings, method = self._settings, charge.method
        faults = _draw(charge.order, "fault") < settings.gateway_fault_per_mille
        declines = _draw(charge.order, "decline") < settings.gateway_decline_per_mille
        if first and (faults or method == "pm_card_fault"):
            return "faulted", "the card's bank did not answer"
        if declines or method == "pm_card_declined":
            return "declined", "the card was declined"
        if method not in ("pm_card_visa", "pm_card_slow", "pm_card_fault"):
            return "declined", "unknown payment method"
        return "paid", ""


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise GatewayUnavailable(f"the gateway is out of reach: {str(error).splitlines()[0]}") from error


def _fail(wishes: list[_Wish], detail: str) -> None:
    for wish in wishes:
        if not wish.done.done():
            wish.done.set_exception(GatewayUnavailable(detail))


async def _store(connection: AsyncConnection, rows: list[dict[str, str | int]]) -> None:
    if rows:
        await connection.execute(sa.insert(charges), rows)


def _row(wish: _Wish, state: str, reason: str) -> dict[str, str | int]:
    now = int(time.time() * 1000)
    charge = wish.charge
    return {
        "order_id": wish.order,
        "sale_uid": charge.sale_uid if charge else "",
        "buyer": charge.buyer if charge else "",
        "amount_minor": charge.amount_minor if charge else 0,
        "currency": charge.currency if charge else "",
        "method": charge.method if charge else "",
        "state": state,
        "reason": reason,
        "created_ms": now,
        "changed_ms": now,
    }


def _outcome(row: sa.Row[tuple[str, ...]]) -> Outcome:
    if row.state == "paid":
        return Outcome(result="paid", charge_id=f"ch_{row.order_id}", amount_minor=row.amount_minor)
    if row.state == "faulted":
        return Outcome(result="fault", reason=row.reason)
    return Outcome(result="declined", reason=row.reason)


def _draw(order: str, what: str) -> int:
    """0..999, always the same for an order."""
    return int.from_bytes(hashlib.sha256(f"{what}:{order}".encode()).digest()[:8], "big") % 1000
