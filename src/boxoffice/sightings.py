"""What Redis, the log, the gateway and the ledger each know of one sale, read for the audit.

The order of reading matters while the sale is running: what is read later can only know more, so that an order on
its way is seen somewhere, and never taken for a difference.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from boxoffice.errors import NotFound, Recovering
from boxoffice.eventlog import EventLog
from boxoffice.events import Malformed, decode
from boxoffice.gateway import ChargeRecord, PaymentGateway
from boxoffice.ledger import Ledger
from boxoffice.orderrecords import SettledOrder, TicketRow
from boxoffice.salerecords import SaleRecord
from boxoffice.store import Store
from boxoffice.tables import dead_letters

CHUNK = 500


@dataclass(frozen=True, slots=True)
class InRedis:
    """Seats by state of the map; owners as `o<order>`, `h<hold>` or `ledger`; orders by id."""

    paying: set[int]
    sold: set[int]
    owners: dict[int, str]
    orders: dict[str, str]


@dataclass(slots=True)
class InLog:
    """Orders of this sale among the records that the log still keeps."""

    unsettled: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Sightings:
    log_id: str
    applied: dict[int, int]
    """By partition of this log, as it was before anything else was read."""
    redis: InRedis | None
    """None: the sale was taken out of Redis."""
    charges: list[ChargeRecord]
    log: InLog
    orders: dict[str, SettledOrder]
    tickets: list[TicketRow]


async def see(sale: SaleRecord, store: Store, log: EventLog, ledger: Ledger, gateway: PaymentGateway) -> Sightings:
    """Raises Recovering while Redis is being rebuilt, and Unavailable."""
    log_id = await log.log_id()
    positions = await ledger.positions(log.topic, log_id)
    redis = await _see_redis(sale, store)
    charges = [charge async for chunk in gateway.charges(sale.uid) for charge in chunk]
    return Sightings(
        log_id=log_id,
        applied={partition: applied for partition, (_, applied) in positions.items()},
        redis=redis,
        charges=charges,
        log=await _see_log(sale, log, ledger),
        orders={order.id: order async for chunk in ledger.orders_of(sale.uid) for order in chunk},
        tickets=[ticket async for chunk in ledger.tickets_of(sale.uid) for ticket in chunk],
    )


async def _see_redis(sale: SaleRecord, store: Store) -> InRedis | None:
    if sale.dropped_ms is not None:
        return None
    try:
        await store.call("peek", sale.name)
    except NotFound:
        raise Recovering(f"Redis has lost {sale.name!r}; it is being rebuilt") from None
    total, seat_map, owners = (
        await store.execute("HGET", store.key(sale.name, "sale"), "total"),
        await store.execute("GET", store.key(sale.name, "map")),
        await store.execute("HGETALL", store.key(sale.name, "owner")),
    )
    states = _states(seat_map or b"", int(total))
    return InRedis(
        paying={seat for seat, state in enumerate(states) if state == 2},
        sold={seat for seat, state in enumerate(states) if state == 3},
        owners={int(owners[i]): owners[i + 1].decode() for i in range(0, len(owners), 2)},
        orders=await _see_orders(sale, store),
    )


def _states(seat_map: bytes, total: int) -> list[int]:
    """Two bits a seat, from the left; what the map does not reach is free."""
    found = [byte >> shift & 3 for byte in seat_map for shift in (6, 4, 2, 0)][:total]
    return found + [0] * (total - len(found))


async def _see_orders(sale: SaleRecord, store: Store) -> dict[str, str]:
    prefix = store.key(sale.name, "order:")
    keys = list(await store.keys(sale.name, "order:"))
    orders: dict[str, str] = {}
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        states = await asyncio.gather(*(store.execute("HGET", key, "state") for key in chunk))
        for key, state in zip(chunk, states, strict=True):
            orders[key.decode().removeprefix(prefix)] = (state or b"").decode()
    return orders


async def _see_log(sale: SaleRecord, log: EventLog, ledger: Ledger) -> InLog:
    """The positions are read before the ledger's orders: what they pass must be there."""
    found = InLog()
    log_id = await log.log_id()
    begins, ends = await log.begins(), await log.ends()
    dead = await _dead(ledger, log_id)
    positions = await ledger.positions(log.topic, log_id)
    for partition, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        settled = positions.get(partition, (0, 0))[0]
        async for records in log.scan(partition, begin, end):
            for record in records:
                if order := _order_of(sale, record.value):
                    if record.offset >= settled:
                        found.unsettled.add(order)
                    elif (partition, record.offset) not in dead:
                        found.settled.add(order)
    return found


def _order_of(sale: SaleRecord, value: bytes) -> str:
    try:
        event = decode(value)
    except Malformed:
        return ""
    return event.order if event.sale_uid == sale.uid else ""


async def _dead(ledger: Ledger, log_id: str) -> set[tuple[int, int]]:
    columns: tuple[sa.Column[Any], ...] = (dead_letters.c.log_partition, dead_letters.c.log_offset)
    async with ledger.reading() as connection:
        rows = await connection.execute(sa.select(*columns).where(dead_letters.c.log_id == log_id))
        return {(row[0], row[1]) for row in rows}
