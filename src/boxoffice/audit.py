"""The audit of a sale: Redis, log, ledger and the gateway's own list of charges must tell one story.

An order on its way from one to the next is no difference. What one reading finds must still be there in a second
one, a moment later, to count.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Literal

import msgspec

from boxoffice.errors import NotFound
from boxoffice.eventlog import EventLog
from boxoffice.gateway import PaymentGateway
from boxoffice.ledger import Ledger
from boxoffice.orderrecords import SettledOrder
from boxoffice.sightings import InRedis, Sightings, see
from boxoffice.store import Store

LOOK_AGAIN_SECONDS = 1.0
READINGS = 2

Kind = Literal[
    "oversold",
    "ticket_missing",
    "ticket_unpaid",
    "double_charge",
    "ticket_without_charge",
    "charged_without_ticket",
    "amount_mismatch",
    "order_lost",
    "sold_in_redis_only",
    "sold_in_ledger_only",
    "owner_differs",
    "seat_stuck",
    "unknown_to_ledger",
    "unknown_to_redis",
    "state_differs",
]


class Difference(msgspec.Struct, frozen=True):
    """`kind` is stable, for metrics and scripts; `text` is for people. `seat` is the index in the seating."""

    kind: Kind
    text: str
    order: str = ""
    seat: int | None = None


class AuditReport(msgspec.Struct, frozen=True, rename="camel"):
    sale: str
    orders: int
    """In the ledger."""
    tickets: int
    """That are live."""
    charges: int
    """For which the gateway holds money."""
    in_flight: int
    """In the log, not yet settled."""
    redis: bool
    """False: the sale was taken out of Redis, so it was not compared."""
    differences: list[Difference]


async def audit(sale: str, store: Store, log: EventLog, ledger: Ledger, gateway: PaymentGateway) -> AuditReport:
    """Raises NotFound, Recovering while Redis is being rebuilt, and Unavailable when a witness is out of reach."""
    record = await ledger.sale(sale)
    if record is None:
        raise NotFound(f"the ledger knows no sale named {sale!r}", code="unknown_sale")
    seen = await see(record, store, log, ledger, gateway)
    found = await _compared(seen)
    for _ in range(READINGS - 1):
        if found:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            seen = await see(record, store, log, ledger, gateway)
            still = set(await _compared(seen))
            found = [difference for difference in found if difference in still]
    return AuditReport(
        sale=sale,
        orders=len(seen.orders),
        tickets=sum(ticket.seat is not None for ticket in seen.tickets),
        charges=sum(charge.state == "paid" for charge in seen.charges),
        in_flight=len(seen.log.unsettled - seen.orders.keys()),
        redis=seen.redis is not None,
        differences=found,
    )


async def _compared(seen: Sightings) -> list[Difference]:
    """In a thread: of a large sale it takes long, and whoever asks may be settling meanwhile."""
    return await asyncio.to_thread(lambda: list(compare(seen)))


def compare(seen: Sightings) -> Iterator[Difference]:
    yield from _tickets(seen)
    yield from _charges(seen)
    yield from _records(seen)
    if seen.redis is not None:
        yield from _seats(seen, seen.redis)
        yield from _orders(seen, seen.redis)


def _tickets(seen: Sightings) -> Iterator[Difference]:
    """Within the ledger: one live ticket a seat, and tickets just as the orders say."""
    buyers: dict[int, list[str]] = defaultdict(list)
    for order in seen.orders.values():
        for seat in order.seats if order.state == "paid" else ():
            buyers[seat].append(order.id)
    for seat, orders in sorted(buyers.items()):
        if len(orders) > 1:
            yield Difference("oversold", f"seat {seat} was sold to {len(orders)} orders: {', '.join(orders)}", "", seat)
    live: dict[str, set[int]] = defaultdict(set)
    for ticket in seen.tickets:
        if ticket.seat is not None:
            live[ticket.order_id].add(ticket.seat)
    for order in seen.orders.values():
        wanted = set(order.seats) if order.state == "paid" else set()
        for seat in sorted(wanted - live[order.id]):
            yield Difference(
                "ticket_missing", f"order {order.id} is paid and has no ticket for seat {seat}", order.id, seat
            )
        for seat in sorted(live[order.id] - wanted):
            yield Difference("ticket_unpaid", f"order {order.id} is {order.state} and has seat {seat}", order.id, seat)


def _charges(seen: Sightings) -> Iterator[Difference]:
    """Money taken is an order paid, once and to the unit; what is still on its way is neither."""
    taken = [charge for charge in seen.charges if charge.state == "paid"]
    for order_id, count in Counter(charge.order for charge in taken).items():
        if count > 1:
            yield Difference("double_charge", f"order {order_id} was charged {count} times", order_id)
    for charge in taken:
        yield from _charge(seen, charge.order, charge.amount_minor, charge.currency)
    charged = {charge.order for charge in taken}
    for order in seen.orders.values():
        if order.state == "paid" and order.id not in charged and not _refund_under_way(order):
            yield Difference("ticket_without_charge", f"order {order.id} is paid, the gateway has no charge", order.id)


def _charge(seen: Sightings, order_id: str, amount_minor: int, currency: str) -> Iterator[Difference]:
    order = seen.orders.get(order_id)
    if order is None:
        if order_id not in seen.log.unsettled and not _to_be_published(seen, order_id):
            text = f"the gateway charged order {order_id}, of which neither ledger nor log know"
            yield Difference("charged_without_ticket", text, order_id)
    elif order.state not in ("paid", "unresolved"):
        text = f"the gateway holds the money of order {order_id}, which is {order.state}"
        yield Difference("charged_without_ticket", text, order_id)
    elif (amount_minor, currency) != (order.amount_minor, order.currency):
        text = f"order {order_id} costs {order.amount_minor} {order.currency}, charged were {amount_minor} {currency}"
        yield Difference("amount_mismatch", text, order_id)


def _records(seen: Sightings) -> Iterator[Difference]:
    for order_id in sorted(seen.log.settled - seen.orders.keys()):
        text = f"settlement has passed the record of order {order_id}, which is not in the ledger"
        yield Difference("order_lost", text, order_id)


def _seats(seen: Sightings, redis: InRedis) -> Iterator[Difference]:
    """A seat is sold in Redis just when it has a live ticket, and to the same order."""
    holders = {ticket.seat: ticket.order_id for ticket in seen.tickets if ticket.seat is not None}
    for seat in sorted(redis.sold - holders.keys()):
        yield Difference("sold_in_redis_only", f"seat {seat} is sold in Redis, the ledger has no ticket", "", seat)
    for seat, order_id in sorted(holders.items()):
        order, owner = seen.orders.get(order_id), redis.owners.get(seat, "nobody")
        if order is None or not _is_told(seen, order):
            continue
        if seat not in redis.sold:
            text = f"seat {seat} has a ticket of order {order_id}, in Redis it is not sold"
            yield Difference("sold_in_ledger_only", text, order_id, seat)
        elif owner not in (f"o{order_id}", "ledger"):
            text = f"seat {seat} has a ticket of order {order_id}, in Redis it belongs to {owner}"
            yield Difference("owner_differs", text, order_id, seat)
    for seat in sorted(redis.paying):
        owner = redis.owners.get(seat, "nobody")
        if not _is_being_paid(seen, redis, owner.removeprefix("o")):
            text = f"seat {seat} is being paid for in Redis by {owner}, which is no order on its way"
            yield Difference("seat_stuck", text, owner.removeprefix("o"), seat)


def _orders(seen: Sightings, redis: InRedis) -> Iterator[Difference]:
    """What buyers are told of an order is what the ledger has; what was accepted is in log or ledger."""
    for order_id, state in sorted(redis.orders.items()):
        order = seen.orders.get(order_id)
        if order is None and state not in ("pending", "accepted"):
            yield Difference("unknown_to_ledger", f"order {order_id} is {state} in Redis only", order_id)
        elif order is None and state == "accepted" and order_id not in seen.log.unsettled:
            text = f"order {order_id} was accepted and is neither in the log nor in the ledger"
            yield Difference("order_lost", text, order_id)
        elif order is not None and order.state != state and _is_told(seen, order):
            text = f"order {order_id} is {order.state} in the ledger, {state} in Redis"
            yield Difference("state_differs", text, order_id)
    for order in seen.orders.values():
        if order.id not in redis.orders and _is_told(seen, order):
            yield Difference("unknown_to_redis", f"order {order.id} is {order.state}, Redis does not know it", order.id)


def _is_told(seen: Sightings, order: SettledOrder) -> bool:
    """Whether Redis should know by now. An order of a former log was told when that one was lost."""
    if order.due_ms is not None and order.state != "unresolved":
        return False
    return order.log_id != seen.log_id or order.log_offset < seen.applied.get(order.log_partition, 0)


def _is_being_paid(seen: Sightings, redis: InRedis, order_id: str) -> bool:
    order = seen.orders.get(order_id)
    if order is None:
        return redis.orders.get(order_id) in ("pending", "accepted")
    return order.state == "unresolved" or not _is_told(seen, order)


def _to_be_published(seen: Sightings, order_id: str) -> bool:
    return seen.redis is not None and seen.redis.orders.get(order_id) == "pending"


def _refund_under_way(order: SettledOrder) -> bool:
    return bool(order.who) and order.due_ms is not None
