"""One partition of the log while it is ours: fetch, settle, tell Redis, in order, and pause on a fault."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

from boxoffice import failpoint, tracing
from boxoffice.batch import Batches, count
from boxoffice.effects import Sink, effects_of
from boxoffice.errors import LedgerBusy, LedgerUnavailable, LogUnavailable, Recovering, StoreUnavailable, Unavailable
from boxoffice.eventlog import Consumer, EventLog, Record
from boxoffice.ledger import Claim, Fenced, Ledger
from boxoffice.orderrecords import SettledOrder
from boxoffice.salerecords import now_ms
from boxoffice.settings import Settings
from boxoffice.tasks import end

WAIT_SECONDS = 0.5
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
TELL_AGAIN_SECONDS = 0.5
LOOK_SECONDS = 5.0
"""With nothing to settle: whether the ledger still stands where we left it."""
LEAVE_SECONDS = 10.0
"""For the batch in hand when the partition is given up; nothing is lost when it takes longer."""

FAULTS = Counter("boxoffice_settle_faults", "Pauses of a partition, by what was out of order", ["fault"])
BATCH_SECONDS = Histogram(
    "boxoffice_settle_batch_seconds",
    "Seconds of a batch, from fetched to told",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5),
)
LAST_PROGRESS = Gauge(
    "boxoffice_settle_last_progress_timestamp_seconds",
    "When the partition last settled a batch or had nothing to settle, Unix time",
    ["partition"],
)
OLDEST = Gauge(
    "boxoffice_settle_oldest_unsettled_seconds",
    "Seconds since the log took the oldest record in hand; 0 with none in hand",
    ["partition"],
)
BUSY_SECONDS = Counter(
    "boxoffice_settle_busy_seconds",
    "Seconds with orders in hand, by how full the batch is: the rate, averaged over partitions, is the busy fraction",
    ["partition"],
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """What settling needs."""

    settings: Settings
    log: EventLog
    ledger: Ledger
    batches: Batches
    sink: Sink


class Partition:
    def __init__(self, desk: Desk, consumer: Consumer, log_id: str, number: int) -> None:
        self.number = number
        self.claim: Claim | None = None
        self._desk = desk
        self._consumer = consumer
        self._log_id = log_id
        self._records: list[Record] = []
        self._in_doubt = False
        self._load = 0.0
        self._counted = asyncio.get_running_loop().time()
        self._busy_seconds = BUSY_SECONDS.labels(str(number))  # there from the start: an idle one counts as 0
        self._last_progress = LAST_PROGRESS.labels(str(number))
        self._last_progress.set_to_current_time()
        self._applied = 0
        self._tell_at = self._look_at = 0.0
        self._leaving = asyncio.Event()
        self._waiting = False
        self.task = asyncio.create_task(self._run(), name=f"partition {number}")

    async def _run(self) -> None:
        """Raises Fenced when another consumer has the partition."""
        await self._patiently(self._take_over)
        while not self._leaving.is_set():
            await self._patiently(self._step)
            self._last_progress.set_to_current_time()

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeats a step, in order, until it succeeds; nothing behind it is touched meanwhile."""
        pause = FIRST_PAUSE_SECONDS
        while not self._leaving.is_set():
            try:
                return await step()
            except Fenced:
                raise
            except Unavailable as fault:
                FAULTS.labels(fault.code).inc()
                logger.warning("partition %d pauses %.1f s: %s", self.number, pause, fault.detail)
            except Exception:
                FAULTS.labels("unexpected").inc()
                logger.exception("partition %d pauses %.1f s", self.number, pause)
            if self._records:
                self._set_load(1.0)
            await self._pause(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._leaving.wait()
        except TimeoutError:
            return

    async def _take_over(self) -> None:
        log, ledger = self._desk.log, self._desk.ledger
        begin = (await log.begins())[self.number]
        claim = await ledger.claim_partition(log.topic, self._log_id, self.number, begin)
        if claim.next < begin:
            logger.error(
                "partition %d: records %d to %d are gone from the log; `boxoffice audit` shows whose",
                self.number, claim.next, begin - 1,
            )  # fmt: skip
        self.claim, self._applied = claim, claim.applied
        self._consumer.seek(self.number, claim.next)

    async def _step(self) -> None:
        assert self.claim is not None
        if self._in_doubt:
            await self._look_again(self.claim)
        await self._catch_up(self.claim)
        if not self._records:
            self._records = await self._fetch()
        if not self._records:
            return await self._rest(self.claim)
        failpoint.reached("settle.fetched")
        with BATCH_SECONDS.time():
            await self._settle(self.claim)
        await self._consumer.commit(self.number, self.claim.next)

    async def _look_again(self, claim: Claim) -> None:
        """The connection broke; the batch may have been committed before it did. Raises Fenced."""
        self._look_at = asyncio.get_running_loop().time() + LOOK_SECONDS
        self.claim = await self._desk.ledger.look_again(claim)
        self._drop_settled(self.claim)
        self._in_doubt = False

    def _drop_settled(self, claim: Claim) -> None:
        self._records = [record for record in self._records if record.offset >= claim.next]

    def _set_load(self, load: float) -> None:
        """A batch counts by how full it is, for orders that come meanwhile go into the next one; one that a fault holds
        up counts as full."""
        self.count_busy()
        self._load = load

    def count_busy(self) -> None:
        """Now and then, so that a long batch counts while it lasts, and one that cannot be written."""
        now = asyncio.get_running_loop().time()
        self._busy_seconds.inc((now - self._counted) * self._load)
        self._counted = now

    def show_age(self) -> None:
        """Now and then."""
        taken_ms = self._records[0].timestamp_ms if self._records else now_ms()
        OLDEST.labels(str(self.number)).set(max(0, now_ms() - taken_ms) / 1000)

    async def _fetch(self) -> list[Record]:
        self._waiting = True
        self._set_load(0.0)
        most = self._desk.settings.settle_batch
        try:
            records = await self._consumer.fetch(self.number, most, WAIT_SECONDS)
        finally:
            self._waiting = False
        self._set_load(len(records) / most)
        return records

    async def _rest(self, claim: Claim) -> None:
        """With nothing to settle `applied` moves by itself, and a ledger that was put back is noticed."""
        if asyncio.get_running_loop().time() >= self._look_at:
            await self._look_again(claim)
        await self._keep_applied()

    async def _keep_applied(self) -> None:
        if self.claim is not None and self._applied != self.claim.applied:
            self.claim = await self._desk.ledger.move_applied(self.claim, self._applied)

    async def _settle(self, was: Claim) -> None:
        try:
            with tracing.batch(self._records) as traced:
                self.claim, settled = await self._desk.batches.settle(was, self._records, self._applied)
                if traced:
                    traced.settled(settled)
        except LedgerUnavailable as fault:
            self._in_doubt = not isinstance(fault, LedgerBusy)
            raise
        self._drop_settled(self.claim)
        for order in settled:
            count(order)
        if await self._tell(settled) and self._applied == was.next:
            self._applied = self.claim.next

    async def _tell(self, settled: Sequence[SettledOrder]) -> bool:
        """Settling goes on while Redis is away; what it missed is told again later."""
        try:
            await self._desk.sink(await effects_of(self._desk.ledger, settled))
        except (Recovering, StoreUnavailable, LogUnavailable) as fault:
            self._tell_at = asyncio.get_running_loop().time() + TELL_AGAIN_SECONDS
            logger.warning("partition %d: effects wait: %s", self.number, fault.detail)
            return False
        failpoint.reached("settle.applied")
        return True

    async def _catch_up(self, claim: Claim) -> None:
        """Tells [applied, next) again: after a take-over, and when Redis is back."""
        if self._applied == claim.next or asyncio.get_running_loop().time() < self._tell_at:
            return
        between = self._desk.ledger.orders_between(self._log_id, self.number, self._applied, claim.next)
        async for chunk in between:
            if not await self._tell(chunk):
                return
            self._applied = chunk[-1].log_offset + 1
        self._applied = claim.next

    async def leave(self) -> None:
        """Finishes the batch in hand, if it can be finished soon."""
        self._leaving.set()
        if self._waiting:
            self.task.cancel()
        await asyncio.wait({self.task}, timeout=LEAVE_SECONDS)
        await end([self.task])
        try:
            await self._keep_applied()
        except (Fenced, Unavailable):
            logger.info("partition %d: the next owner tells Redis again", self.number)
