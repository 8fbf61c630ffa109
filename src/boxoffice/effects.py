"""What the ledger decided, on its way to Redis and to third parties: made from the ledger's rows as they stand."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from boxoffice import events
from boxoffice.errors import NotFound
from boxoffice.eventlog import EventLog
from boxoffice.ledger import Ledger
from boxoffice.orderrecords import SettledOrder
from boxoffice.payments import fingerprint
from boxoffice.store import Argument, Store

AT_A_TIME = 100
"""Orders in one call: so many keep Redis from others for about two milliseconds."""

MOST_SEATS = 1000
"""In one call: Lua passes some thousand arguments at most."""

log = logging.getLogger(__name__)


class Effect(NamedTuple):
    order: SettledOrder
    sold: Sequence[int] = ()
    """Of a refused order: those of its seats that the ledger has sold."""


Sink = Callable[[Sequence[Effect]], Awaitable[None]]
"""Takes effects, all or none known to be taken; repeats are harmless. Raises Recovering, StoreUnavailable,
LogUnavailable."""


async def effects_of(ledger: Ledger, orders: Sequence[SettledOrder]) -> list[Effect]:
    refused = [(order.sale_uid, order.seats) for order in orders if order.state == "refused"]
    if not refused:
        return [Effect(order) for order in orders]
    sold = await ledger.sold_seats(refused)
    return [Effect(order, _sold_of(order, sold)) for order in orders]


def _sold_of(order: SettledOrder, sold: Iterable[tuple[str, int]]) -> list[int]:
    return [s for s in order.seats if (order.sale_uid, s) in sold] if order.state == "refused" else []


def sink_of(store: Store, event_log: EventLog) -> Sink:
    """Redis first, then third parties: who reads that an order is paid finds it so."""

    async def tell(effects: Sequence[Effect]) -> None:
        await apply_effects(store, effects)
        await event_log.announce([events.notice(event) for event in map(_event, effects) if event])

    return tell


def _event(effect: Effect) -> events.OrderEvent | None:
    """None while it is open what becomes of the order."""
    o = effect.order
    if o.state == "unresolved":
        return None
    return events.OrderEvent(
        order=o.id,
        sale=o.sale,
        sale_uid=o.sale_uid,
        state=o.state,
        reason=o.reason,
        seats=o.names,
        amount_minor=o.amount_minor,
        currency=o.currency,
        at_ms=o.refunded_ms or o.settled_ms,
    )


async def apply_effects(store: Store, effects: Sequence[Effect]) -> None:
    """Tells Redis what the ledger decided; repeats are harmless. Raises Recovering, StoreUnavailable."""
    by_sale: dict[str, list[Effect]] = {}
    for effect in effects:
        by_sale.setdefault(effect.order.sale, []).append(effect)
    calls = [_apply(store, sale, chunk) for sale, told in by_sale.items() for chunk in _chunks(told)]
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _chunks(effects: list[Effect]) -> Iterable[list[Effect]]:
    chunk: list[Effect] = []
    seats = 0
    for effect in effects:
        seats += len(effect.order.seats)
        if chunk and (len(chunk) == AT_A_TIME or seats > MOST_SEATS):
            yield chunk
            chunk, seats = [], len(effect.order.seats)
        chunk.append(effect)
    if chunk:
        yield chunk


async def _apply(store: Store, sale: str, effects: list[Effect]) -> None:
    try:
        await store.call("effect", sale, *itertools.chain.from_iterable(map(_arguments, effects)))
    except NotFound:
        log.info("%d orders of %s, which is no longer in Redis", len(effects), sale)


def _arguments(effect: Effect) -> tuple[Argument, ...]:
    o, sold = effect
    seats, mark = ",".join(map(str, o.seats)), fingerprint(str(o.hold), o.method)
    return (
        o.id, o.state, o.reason, bytes.fromhex(o.buyer), o.hold, seats, ",".join(map(str, sold)),
        o.placed_ms, o.method, o.currency, mark,
    )  # fmt: skip
