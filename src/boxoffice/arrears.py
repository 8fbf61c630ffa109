"""Orders for which something is still to be done: another try, a refund, or an effect that Redis has not got.

The ledger's `due_ms` says so and from when; what is to be done follows from the order's state. A process takes
an order by moving `due_ms` on, so that many processes share the work and a dead one's share comes up again.
"""

from __future__ import annotations

import asyncio
import logging

from boxoffice.batch import capture, charge_of, count
from boxoffice.effects import Sink, effects_of
from boxoffice.errors import Unavailable
from boxoffice.gateway import PaymentGateway
from boxoffice.ledger import Ledger, SeatTaken
from boxoffice.orderrecords import LONGEST_WAIT_MS, SettledOrder
from boxoffice.salerecords import now_ms

SWEEP_SECONDS = 0.5
TAKEN_MS = 10_000
"""How long an order is left to the process that took it."""

AT_A_TIME = 50

logger = logging.getLogger(__name__)


class Arrears:
    def __init__(self, ledger: Ledger, gateway: PaymentGateway, sink: Sink) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._sink = sink

    async def run(self) -> None:
        while True:
            try:
                await self.sweep()
            except Unavailable as fault:
                logger.warning("arrears wait: %s", fault.detail)
            except Exception:
                logger.exception("arrears")
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> int:
        """Works off what is due now; returns how many orders that were. Raises Unavailable."""
        due = await self._ledger.due_orders(now_ms(), AT_A_TIME)
        results = await asyncio.gather(*(self.work(order) for order in due), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(due)

    async def work(self, order: SettledOrder) -> SettledOrder | None:
        """Takes one order as far as it goes; None when another process has it. Raises Unavailable."""
        attempt = order.attempts + 1
        taken = await self._ledger.change_order(order, due_ms=now_ms() + TAKEN_MS, attempts=attempt)
        if taken is not None and taken.state == "unresolved":
            taken = await self._try_again(taken)
            if taken is not None and taken.state != "unresolved":
                count(taken)
        if taken is not None and taken.state == "paid" and taken.who:
            taken = await self._refund(taken)
        if taken is None or taken.state == "unresolved":
            return taken
        await self._sink(await effects_of(self._ledger, [taken]))
        return await self._ledger.change_order(taken, due_ms=None)

    async def _try_again(self, order: SettledOrder) -> SettledOrder | None:
        outcome = await capture(self._gateway, charge_of(order), order.placed_ms)
        if outcome.result == "fault":
            wait_ms = min(LONGEST_WAIT_MS, 1000 * 2 ** min(order.attempts, 10))
            return await self._ledger.change_order(order, due_ms=now_ms() + wait_ms, reason=outcome.reason)
        if outcome.result == "declined":
            return await self._ledger.change_order(order, state="declined", reason=outcome.reason, settled_ms=now_ms())
        try:
            return await self._ledger.change_order(
                order,
                state="paid",
                reason="",
                settled_ms=now_ms(),
                charge_id=outcome.charge_id,
                charge_minor=outcome.amount_minor,
            )
        except SeatTaken:
            await self._gateway.refund(order.id)
            reason = "the seats were sold to someone else"
            return await self._ledger.change_order(order, state="refused", reason=reason)

    async def _refund(self, order: SettledOrder) -> SettledOrder | None:
        await self._gateway.refund(order.id)
        return await self._ledger.change_order(order, state="refunded", refunded_ms=now_ms())
