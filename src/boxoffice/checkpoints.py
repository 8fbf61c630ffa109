"""The line's counters and the moment of opening, from Redis into the ledger every few seconds."""

from __future__ import annotations

import asyncio
import logging

from boxoffice.errors import StoreUnavailable, Unavailable
from boxoffice.ledger import Ledger
from boxoffice.salerecords import LineCheckpoint, SaleRecord, now_ms
from boxoffice.store import Store

EVERY_SECONDS = 5.0
_FIELDS = ("uid", "opened_ms", "epoch", "issued", "called", "lapsed")

logger = logging.getLogger(__name__)


class Checkpoints:
    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    async def run(self) -> None:
        while True:
            try:
                await self.take()
            except Unavailable as fault:
                logger.warning("no checkpoint: %s", fault.detail)
            except Exception:
                logger.exception("checkpoints")
            await asyncio.sleep(EVERY_SECONDS)

    async def take(self) -> None:
        for sale in await self._ledger.sales():
            if sale.dropped_ms is None:
                try:
                    await self.take_of(sale)
                except StoreUnavailable as fault:  # of a Cluster's servers one may be away
                    logger.warning("no checkpoint of %s: %s", sale.name, fault.detail)

    async def take_of(self, sale: SaleRecord) -> None:
        """Skips a sale that Redis does not have, or has lost and begun anew: the ledger keeps the highest."""
        found = await self._store.execute("HMGET", self._store.key(sale.name, "sale"), *_FIELDS)
        if found[0] is None or found[0].decode() != sale.uid:
            return
        opened_ms, epoch, issued, called, lapsed = (int(value or 0) for value in found[1:])
        if opened_ms and sale.opened_ms is None:
            await self._ledger.mark_opened(sale.uid, opened_ms)
        await self._ledger.checkpoint(LineCheckpoint(sale.uid, epoch, issued, called, lapsed, now_ms()))
