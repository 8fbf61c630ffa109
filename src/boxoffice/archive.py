"""After a sale: once it is closed for good and settled, it leaves Redis, and the ledger alone answers for it.

Each step can be repeated, and the next turn, of this process or another, goes on where one was left: the ledger's
mark comes first, so that nobody rebuilds the sale; then its record goes, which the pods see within a beat; its other
keys last, for a pod that has not seen it yet still reads orders there.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from boxoffice import failpoint
from boxoffice.checkpoints import Checkpoints
from boxoffice.errors import BoxofficeError, NotFound, Recovering, StoreUnavailable
from boxoffice.eventlog import EventLog
from boxoffice.ledger import Ledger
from boxoffice.sale import to_ms
from boxoffice.salerecords import SaleRecord
from boxoffice.spec import Spec
from boxoffice.store import Store

EVERY_SECONDS = 10.0
LEASE_MS = 30_000
WAIT_SECONDS = 300.0
"""From closing: buyers look for their orders then, and whoever closed it too early takes it back."""

BEATS_SECONDS = 3.0
"""Until every pod has seen that the record is gone."""

DROP_CHUNK = 500

log = logging.getLogger(__name__)


def is_over(record: SaleRecord | None, spec: Spec, now_ms: int) -> bool:
    """Whether a sale was archived and stays so under this spec: it must not be made in Redis anew.

    `record` is what the ledger has of the name, read before `ensure_sale`, which takes the archive's mark back;
    `now_ms` is the Redis server's TIME. False of a sale that was never archived, and of one whose spec closes later
    now: it comes back as any sale that the ledger knows. Says nothing of the seating.
    """
    archived = record is not None and record.archived_ms is not None
    return archived and (spec.policy == "Closed" or now_ms >= to_ms(spec.closes_time))


class _Ends(NamedTuple):
    """Of the log, some time after a sale was closed."""

    log_id: str
    offsets: list[int]


class Archive:
    """One `settle` process at a time, by a lease that saves work: two at once would do no harm."""

    def __init__(self, store: Store, event_log: EventLog, ledger: Ledger, wait_seconds: float = WAIT_SECONDS) -> None:
        self._store, self._log, self._ledger = store, event_log, ledger
        self._wait_ms = wait_seconds * 1000
        self._me = secrets.token_hex(8).encode()
        self._closed_ms: dict[str, int] = {}
        """By uid: since when a sale is closed by policy, as far as we have seen."""
        self._ends: dict[str, _Ends] = {}

    async def run(self) -> None:
        """Never raises."""
        while True:
            try:
                if await self._lease():
                    await self.turn()
            except BoxofficeError as error:
                log.warning("the archive waits: %s", error)
            except Exception:
                log.exception("archive")
            await asyncio.sleep(EVERY_SECONDS)

    async def _lease(self) -> bool:
        key = f"{self._store.instance}:archive"
        if await self._store.execute("SET", key, self._me, "NX", "PX", LEASE_MS):
            return True
        if await self._store.execute("GET", key) != self._me:
            return False
        return bool(await self._store.execute("PEXPIRE", key, LEASE_MS))

    async def turn(self) -> list[str]:
        """The names of the sales that left Redis. Raises Unavailable."""
        sales = await self._ledger.sales()
        closed = [sale for sale in sales if sale.dropped_ms is None and await self._close(sale)]
        leaving = [sale for sale in sales if sale.archived_ms is not None and await self._is_here(sale)]
        return await self._take_out(closed + leaving)

    async def _is_here(self, sale: SaleRecord) -> bool:
        keys = [self._store.key(sale.name, name) for name in ("sale", "dropping")]
        return bool(await self._store.execute("EXISTS", *keys))

    async def _close(self, sale: SaleRecord) -> bool:
        """Marks it in the ledger if it is over and settled."""
        if not (await self._is_over(sale) and await self._is_settled(sale)):
            return False
        failpoint.reached("archive.settled")
        await Checkpoints(self._store, self._ledger).take_of(sale)
        marked = await self._ledger.mark_archived(sale)
        failpoint.reached("archive.marked")
        return marked

    async def _is_over(self, sale: SaleRecord) -> bool:
        """For good, for some time, and with nothing on its way. Not while Redis is being rebuilt."""
        try:
            _, now, closes_ms, policy, unsettled = await self._store.call("closing", sale.name)
        except (NotFound, Recovering, StoreUnavailable):
            return False
        if policy == b"Closed":
            closes_ms = min(closes_ms, self._closed_ms.setdefault(sale.uid, now))
        else:
            self._closed_ms.pop(sale.uid, None)
        over = bool(now >= closes_ms + self._wait_ms and not unsettled)
        if not over:
            self._ends.pop(sale.uid, None)
        return over

    async def _is_settled(self, sale: SaleRecord) -> bool:
        """All that the log held when we first looked: other sales add to it, this one does not any more."""
        log_id = await self._log.log_id()
        ends = self._ends.get(sale.uid)
        if ends is None or ends.log_id != log_id:
            ends = self._ends[sale.uid] = _Ends(log_id, await self._log.ends())
        positions = await self._ledger.positions(self._log.topic, log_id)
        applied = [positions.get(partition, (0, 0))[1] for partition in range(len(ends.offsets))]
        if any(at < end for at, end in zip(applied, ends.offsets, strict=True)):
            return False
        return not await self._ledger.has_arrears(sale.uid)

    async def _take_out(self, sales: Sequence[SaleRecord]) -> list[str]:
        hidden = [sale.name for sale in sales if await self._hide(sale.name)]
        if not hidden:
            return []
        failpoint.reached("archive.hidden")
        await asyncio.sleep(BEATS_SECONDS)
        return [name for name in hidden if await self._sweep(name)]

    async def _hide(self, name: str) -> bool:
        await self._store.remove_name(name)
        failpoint.reached("archive.unlisted")
        return await self._drop(name, [], more=True)

    async def _sweep(self, name: str) -> bool:
        keys = list(await self._store.keys(name, ""))
        for start in range(0, len(keys), DROP_CHUNK):
            if not await self._drop(name, keys[start : start + DROP_CHUNK], more=True):
                return False
            failpoint.reached("archive.sweeping")
        gone = await self._drop(name, [], more=False)
        log.info("%s is over: the ledger answers for it", name)
        return gone

    async def _drop(self, name: str, keys: Sequence[bytes], more: bool) -> bool:
        """False: it was applied again, and stays."""
        return bool((await self._store.call("archive", name, int(more), *keys))[0] == b"ok")
