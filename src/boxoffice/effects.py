"""What the ledger decided, on its way to Redis: always made from the ledger's rows as they stand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from boxoffice.ledger import Ledger
from boxoffice.orderrecords import SettledOrder
from boxoffice.payments import Effect, apply_effects
from boxoffice.store import Store

Sink = Callable[[Sequence[Effect]], Awaitable[None]]
"""Takes effects, all or none known to be taken; repeats are harmless. Raises Recovering, StoreUnavailable."""


async def effects_of(ledger: Ledger, orders: Sequence[SettledOrder]) -> list[Effect]:
    refused = [(order.sale_uid, order.seats) for order in orders if order.state == "refused"]
    sold = await ledger.sold_seats(refused)
    return [_effect(order, [s for s in order.seats if (order.sale_uid, s) in sold]) for order in orders]


def _effect(order: SettledOrder, sold: list[int]) -> Effect:
    return Effect(
        sale=order.sale,
        order=order.id,
        outcome=order.state,
        reason=order.reason,
        buyer=order.buyer,
        seats=order.seats,
        sold=sold if order.state == "refused" else [],
        amount_minor=order.amount_minor,
        currency=order.currency,
        placed_ms=order.placed_ms,
        hold=order.hold,
        fence=order.fence,
        method=order.method,
    )


def sink_of(store: Store) -> Sink:
    async def tell(effects: Sequence[Effect]) -> None:
        await apply_effects(store, effects)

    return tell
