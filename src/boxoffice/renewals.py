"""A log that was made anew has lost what was accepted and not settled yet: Redis still knows it, and it is published
again. What had been settled already ends at the order's id."""

from __future__ import annotations

import asyncio
import logging

import sqlalchemy as sa

from boxoffice.errors import BoxofficeError, NotFound, Recovering, StoreUnavailable
from boxoffice.eventlog import EventLog
from boxoffice.ledger import Ledger
from boxoffice.store import Store
from boxoffice.tables import positions

LOOK_SECONDS = 2.0
AGAIN_MS = 6_000
"""Longer than a publish and its mark in Redis may take together."""

log = logging.getLogger(__name__)


class Renewals:
    def __init__(self, store: Store, ledger: Ledger, event_log: EventLog) -> None:
        self._store, self._ledger, self._log = store, ledger, event_log

    async def run(self) -> None:
        """Looks every two seconds; never raises."""
        while True:
            try:
                await self.look()
            except BoxofficeError as error:
                log.debug("not looked at the log: %s", error)
            except Exception:
                log.exception("renewals")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> int:
        """How many orders are to be published again. Raises LogUnavailable, LedgerUnavailable."""
        log_id = await self._log.log_id()
        other = await self._had_another(log_id)
        sales = [sale.name for sale in await self._ledger.sales() if sale.dropped_ms is None]
        return sum([await self._look_at(sale, log_id, other) for sale in sales])

    async def _had_another(self, log_id: str) -> bool:
        """Whether settlement has ever read another log: a sale that has not been looked at yet may be older."""
        others = sa.select(positions.c.log_id).where(positions.c.topic == self._log.topic, positions.c.log_id != log_id)
        async with self._ledger.reading() as connection:
            return (await connection.execute(others.limit(1))).first() is not None

    async def _look_at(self, sale: str, log_id: str, other: bool) -> int:
        try:
            _, again = await self._store.call("renew", sale, log_id, AGAIN_MS, int(other))
        except (NotFound, Recovering, StoreUnavailable) as error:
            log.debug("%s: not looked at the log: %s", sale, error)
            return 0
        if again:
            log.warning("%s: the log was made anew, %d orders are published again", sale, again)
        return int(again)
