"""What a buyer's pod reads of sales that are in the ledger alone: that they are over, and a buyer's own orders.

As the user who may only read, on a connection or two that are opened when somebody first asks; so is the database's
client loaded, which is as large as the rest of the pod. A ledger that is away makes nothing else slow.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from boxoffice.errors import LedgerUnavailable, NotFound, Unavailable
from boxoffice.payments import Order
from boxoffice.recent import Recent
from boxoffice.settings import Settings
from boxoffice.snapshot import View
from boxoffice.times import rfc3339

if TYPE_CHECKING:
    from boxoffice.ledger import Ledger
    from boxoffice.orderrecords import SettledOrder

CONNECTIONS = 2
OPEN_SECONDS = 10.0
"""For the processor alone: nobody else is asked."""

READ_SECONDS = 2.0
MOST_WAITING = 200
NAMES_SECONDS = 5.0
"""So often at most is the ledger asked which sales are over, whatever names are asked for."""

ORDERS_SECONDS = 3.0
BUYERS = 5_000

log = logging.getLogger(__name__)


class LedgerReader:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ledger: Ledger | None = None
        self._opening, self._asking = asyncio.Lock(), asyncio.Lock()
        self._waiting = 0
        self._names: set[str] | None = None
        self._names_until = 0.0
        self._orders: Recent[bytes, tuple[float, list[Order]]] = Recent(BUYERS)

    async def find(self, name: str) -> View | None:
        """The sale as it was in the end; None when the ledger has not archived one of this name, or is not ours to
        read. Raises LedgerUnavailable."""
        if not self._settings.ledger_reader_url or name not in await self._archived():
            return None
        async with self._reading() as ledger:
            sale = await ledger.sale(name)
            if sale is None or sale.archived_ms is None:
                return None
            point = await ledger.checkpoint_of(sale.uid)
            sold = await ledger.seats_sold(sale.uid)
        counts = {} if point is None else {n: getattr(point, n) for n in ("epoch", "issued", "called", "lapsed")}
        return View.of_the_past(name, sale.uid, sale.spec.encode(), version=sale.archived_ms, sold=sold, **counts)

    async def _archived(self) -> set[str]:
        async with self._asking:
            if time.monotonic() >= self._names_until:
                try:
                    async with self._reading() as ledger:
                        self._names = await ledger.archived_names()
                except LedgerUnavailable as error:
                    log.warning("which sales are over is not known anew: %s", error)
                self._names_until = time.monotonic() + NAMES_SECONDS
        if self._names is None:
            raise LedgerUnavailable("whether there was such a sale cannot be looked up now", retry_after=5)
        return self._names

    async def order(self, view: View, place: bytes, order: str) -> Order:
        """The buyer's own. Raises NotFound for anybody else's, Unavailable."""
        for found in await self.orders(view, place):
            if found.id == order:
                return found
        raise NotFound("you have no such order", code="unknown_order")

    async def orders(self, view: View, place: bytes) -> list[Order]:
        """The buyer's own. Raises Unavailable."""
        until, orders = self._orders.get(view.uid + place) or (0.0, [])
        if until <= time.monotonic():
            async with self._reading() as ledger:
                settled = await ledger.orders_of_buyer(view.uid.hex(), place.hex())
            orders = [_told(order) for order in settled]
            self._orders.put(view.uid + place, (time.monotonic() + ORDERS_SECONDS, orders))
        return orders

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Ledger]:
        """For a read or some, that are answered soon or not at all. Raises Unavailable."""
        if self._waiting >= MOST_WAITING:
            raise LedgerUnavailable("too many ask the ledger at once", retry_after=5)
        self._waiting += 1
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                ledger = await self._open()
            async with asyncio.timeout(READ_SECONDS):
                yield ledger
        except TimeoutError:
            raise LedgerUnavailable("the ledger did not answer in time") from None
        finally:
            self._waiting -= 1

    async def _open(self) -> Ledger:
        if not self._settings.ledger_reader_url:
            raise Unavailable(
                "this sale is over and its orders are in the ledger, which this pod was not given to read: "
                "set BOXOFFICE_LEDGER_READER_URL",
                code="no_ledger",
                retry_after=60,
            )
        async with self._opening:
            if self._ledger is None:
                module = await asyncio.to_thread(importlib.import_module, "boxoffice.ledger")
                self._ledger = await module.open_ledger(replace(self._settings, ledger_pool=CONNECTIONS), reading=True)
            return self._ledger

    async def close(self) -> None:
        if self._ledger is not None:
            await self._ledger.close()


def _told(order: SettledOrder) -> Order:
    placed_at = rfc3339(order.placed_ms)
    return Order(
        order.id, order.state, order.names, order.amount_minor, order.currency, placed_at, order.reason or None
    )
