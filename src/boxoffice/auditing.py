"""The audit of every sale once a minute, by one `settle` process at a time, into a gauge.

A lease in Redis says who that is. It is renewed apart from the audits, for these may take long; whoever does not
have it shows nothing, so that no value of long ago stays beside those of today.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter as Counts
from collections.abc import Iterable
from typing import get_args

from prometheus_client import Counter, Gauge

from boxoffice.audit import Difference, Kind, audit
from boxoffice.errors import BoxofficeError, Unavailable
from boxoffice.eventlog import EventLog
from boxoffice.gateway import PaymentGateway
from boxoffice.ledger import Ledger
from boxoffice.store import Store

EVERY_SECONDS = 60.0
FIRST_SECONDS = 10.0
"""Who has just started has orders to settle that waited for it."""

LEASE_MS = 30_000
RENEW_SECONDS = 5.0
MOST_LINES = 100
"""Of the differences of one audit; the gauge counts them all."""

DIFFERENCES = Gauge("boxoffice_audit_differences", "Differences that the last audit found", ["sale", "kind"])
LAST_SUCCESS = Gauge(
    "boxoffice_audit_last_success_timestamp_seconds", "When an audit last came to its end, Unix time", ["sale"]
)
FAILURES = Counter("boxoffice_audit_failures", "Audits skipped because a witness was out of reach")

logger = logging.getLogger(__name__)


class Audits:
    def __init__(self, store: Store, log: EventLog, ledger: Ledger, gateway: PaymentGateway) -> None:
        self._store, self._log, self._ledger, self._gateway = store, log, ledger, gateway
        self._me = secrets.token_hex(8).encode()
        self._mine = asyncio.Event()
        self._ours_until = 0.0
        self._shown: set[str] = set()

    async def run(self) -> None:
        """Never raises."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_lease())
            group.create_task(self._audit_forever())

    async def _keep_lease(self) -> None:
        while True:
            await self.renew()
            await asyncio.sleep(RENEW_SECONDS)

    async def renew(self) -> bool:
        """Takes the lease when it is free, and keeps it; whether it is ours. Never raises."""
        was = self._mine.is_set()
        try:
            mine = await self._ask(was)
        except Unavailable:
            return self._doubt(was)
        except Exception:
            logger.exception("the lease of the audit")
            return self._doubt(was)
        if mine:
            self._ours_until = time.monotonic() + LEASE_MS / 1000
            self._mine.set()
        else:
            self._mine.clear()
            self._show_only(())
        return mine

    def _doubt(self, was: bool) -> bool:
        """Redis does not answer: the audits go on to fail, which is counted; by now another may have the lease."""
        if time.monotonic() > self._ours_until:
            self._show_only(())
        return was

    async def _ask(self, was: bool) -> bool:
        """GETEX prolongs what it finds; only who held the lease a moment ago may find somebody else's."""
        key = f"{self._store.instance}:audits"
        if was:
            return bool(await self._store.execute("GETEX", key, "PX", LEASE_MS) == self._me)
        return bool(await self._store.execute("SET", key, self._me, "NX", "PX", LEASE_MS))

    async def _audit_forever(self) -> None:
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            await self._mine.wait()
            await self.turn()
            await asyncio.sleep(EVERY_SECONDS)

    async def turn(self) -> None:
        """Every sale that was not dropped, one after the other; never raises."""
        try:
            names = [sale.name for sale in await self._ledger.sales() if sale.dropped_ms is None]
        except Exception as error:
            return _skip("every sale", error)
        self._show_only(names)
        for name in names:
            if self._mine.is_set():
                await self._audit(name)

    async def _audit(self, name: str) -> None:
        try:
            report = await audit(name, self._store, self._log, self._ledger, self._gateway)
        except Exception as error:
            return _skip(name, error)
        if self._mine.is_set():
            self._show(name, report.differences)

    def _show(self, name: str, differences: list[Difference]) -> None:
        found = Counts(difference.kind for difference in differences)
        for kind in get_args(Kind):
            DIFFERENCES.labels(name, kind).set(found[kind])
        LAST_SUCCESS.labels(name).set_to_current_time()
        self._shown.add(name)
        for difference in differences[:MOST_LINES]:
            logger.error("audit of %s: %s: %s", name, difference.kind, difference.text)

    def _show_only(self, names: Iterable[str]) -> None:
        for name in self._shown.difference(names):
            for kind in get_args(Kind):
                DIFFERENCES.remove(name, kind)
            LAST_SUCCESS.remove(name)
        self._shown.intersection_update(names)


def _skip(what: str, error: Exception) -> None:
    FAILURES.inc()
    expected = isinstance(error, BoxofficeError)
    logger.warning("no audit of %s: %s", what, error, exc_info=None if expected else error)
