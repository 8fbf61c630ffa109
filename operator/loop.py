"""The loop that keeps every sale in line: all of them every ten seconds, one at once when the watch saw it change.

It never ends by itself: what goes wrong with one sale, or with one engine, is said in that sale's status and in the
metrics, and tried again at the next turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from prometheus_client import Counter, Gauge, Summary

from boxoffice.errors import BoxofficeError, ClusterUnavailable, LedgerUnavailable
from boxoffice.salerecords import SaleRecord
from boxoffice.sales import OldWriter
from boxoffice.status import Status
from conditions import changes, status_of
from decisions import says_more
from prescale import Prescaler
from reconcile import Reconciler
from resources import Resource
from steering import Steering, steers
from turn import RENEW_SECONDS, Turn

PERIOD_SECONDS = 10.0
STATUS_SECONDS = 10.0
"""Between two writes of one sale's status: it is for people, and every write goes to all who watch."""
STUCK_PERIODS = 3
MOST_AT_ONCE = 50
ROUND_SECONDS = 25.0
"""A round that takes longer is given up: the next one begins from what is there then."""

LOOKS = Summary("boxoffice_operator_round_seconds", "Seconds of a look at all sales")
LAST = Gauge("boxoffice_operator_last_round_timestamp_seconds", "When the last look at all sales ended, Unix time")
SALES = Gauge("boxoffice_operator_sales", "Resources that are looked after")
LIMITED = Gauge("boxoffice_operator_limited_by", "1 for what its status says limits the pace", ["sale", "limit"])
WRITER = Gauge("boxoffice_operator_writer", "The number of our turn; 0 while it is another operator's")
WRITES = Counter("boxoffice_operator_status_writes_total", "Writes of a sale's status")
FAULTS = Counter("boxoffice_operator_faults_total", "What went wrong and is tried again", ["what"])

logger = logging.getLogger(__name__)


class Loop:
    def __init__(self, reconciler: Reconciler, turn: Turn, steering: Steering, prescaler: Prescaler) -> None:
        self.known: dict[str, Resource] = {}
        """The resources as of the last list or watch event."""
        self._reconciler, self._turn, self._steering = reconciler, turn, steering
        self._prescaler = prescaler
        self._records: Mapping[str, SaleRecord] | None = None
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._written: dict[str, float] = {}
        self._waiting: set[str] = set()
        """Sales whose status is another, but was written too lately."""
        self._mine: set[str] = set()
        self._round_at = time.monotonic()
        self._renewed_at = float("-inf")
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def stuck(self) -> bool:
        """Whether no look at all sales has ended for too long."""
        return time.monotonic() - self._round_at > STUCK_PERIODS * PERIOD_SECONDS

    def saw(self, kind: str | None, document: dict[str, Any]) -> None:
        """An event of the watch. What we wrote ourselves wakes nobody."""
        resource = Resource.of(document)
        before = self.known.get(resource.name)
        if kind == "DELETED":
            self.known.pop(resource.name, None)
            return  # the next list tells it from one that is made anew at once
        self.known[resource.name] = resource
        if before is None or _asked(before) != _asked(resource):
            self._changed.add(resource.name)
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        keeping = asyncio.create_task(self._keep_turn())
        try:
            while True:
                started = time.monotonic()
                await self._guarded("round", self._round())
                await self._follow_changes(started + PERIOD_SECONDS)
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    async def _keep_turn(self) -> None:
        while True:
            await self._guarded("turn", self._renew())
            await asyncio.sleep(RENEW_SECONDS)

    async def _renew(self) -> None:
        try:
            before = self._turn.writer
            await self._turn.renew()
            if self._turn.writer and not before:
                self._changed.update(self.known)
                self._wake.set()
        finally:
            WRITER.set(self._turn.writer)

    async def _guarded(self, what: str, work: Any, sale: str = "") -> None:
        """Nothing ends the loop but its being cancelled."""
        try:
            async with asyncio.timeout(ROUND_SECONDS):
                await work
        except OldWriter as error:
            await self._outbid(error)
        except (BoxofficeError, TimeoutError) as error:
            FAULTS.labels(what).inc()
            logger.warning("%s: %s", sale or what, error or "took too long")
        except Exception:
            FAULTS.labels(what).inc()
            logger.exception("%s", sale or what)

    async def _outbid(self, error: OldWriter) -> None:
        FAULTS.labels("old_writer").inc()
        logger.warning("refused: %s", error)
        try:
            await self._turn.outbid(error.present)
        except ClusterUnavailable as fault:
            logger.warning("turn: %s", fault)

    async def _round(self) -> None:
        with LOOKS.time():
            fresh = await self._list()
            self._records = await self._read_ledger()
            if self._turn.writer:
                await self._look_at(list(self.known))
                await self._guarded("prescale", self._prescaler.step(datetime.now(UTC)))
                if fresh:
                    await self._guarded("tidy", self._reconciler.tidy(self.known, self._mine))
        _show_limits(self.known.values())
        self._round_at = time.monotonic()
        LAST.set_to_current_time()

    async def _list(self) -> bool:
        """Whether what we know is fresh; without the API what was seen last counts on."""
        try:
            self.known = await self._reconciler.resources.list()
        except ClusterUnavailable as error:
            FAULTS.labels("list").inc()
            logger.warning("the sales as seen last go on: %s", error)
            return False
        SALES.set(len(self.known))
        self._mine.update(self.known)
        self._steering.forget(list(self.known))
        self._prescaler.forget(self.known)
        self._written = {name: at for name, at in self._written.items() if name in self.known}
        self._locks = {name: lock for name, lock in self._locks.items() if name in self.known}
        return True

    async def _read_ledger(self) -> Mapping[str, SaleRecord] | None:
        try:
            return {record.name: record for record in await self._reconciler.ledger.sales()}
        except LedgerUnavailable as error:
            FAULTS.labels("ledger").inc()
            logger.warning("%s", error)
            return None

    async def _follow_changes(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed & self.known.keys(), set()
            if changed and self._turn.writer:
                await self._guarded("change", self._look_at(sorted(changed)))

    async def _look_at(self, names: list[str]) -> None:
        """Each by itself: what goes wrong with one keeps no other waiting."""
        at_once = asyncio.Semaphore(MOST_AT_ONCE)

        async def one(name: str) -> None:
            async with at_once, self._locks.setdefault(name, asyncio.Lock()):
                if resource := self.known.get(name):
                    await self._guarded("sale", self._look(resource), name)

        await asyncio.gather(*(one(name) for name in names))

    async def _look(self, resource: Resource) -> None:
        facts = await self._reconciler.look(resource, self._records)
        now = datetime.now(UTC)
        if facts.spec:
            self._prescaler.saw(resource.name, facts.spec, facts.sight)
            facts = msgspec.structs.replace(facts, prescaled=self._prescaler.of(resource.name))
        if facts.spec and facts.sight:
            steered = await self._steering.step(
                resource.name, facts.spec, facts.sight, resource.status.decisions, now.timestamp()
            )
            facts = msgspec.structs.replace(facts, steered=steered if steers(facts.spec) else None)
        status = status_of(resource.status, facts, now)
        if says_more(resource.status, status, self._age(resource.name)) and self._may_write(resource.name):
            await self._write(resource, status, now)

    def _age(self, name: str) -> float:
        """Seconds since the status was written."""
        return time.monotonic() - self._written.get(name, float("-inf"))

    def _may_write(self, name: str) -> bool:
        """Where it is too early, the sale is looked at again when it is not."""
        left = STATUS_SECONDS - self._age(name)
        if left > 0 and name not in self._waiting:
            self._waiting.add(name)
            asyncio.get_running_loop().call_later(left, self._look_again, name)
        return left <= 0

    def _look_again(self, name: str) -> None:
        self._waiting.discard(name)
        self._changed.add(name)
        self._wake.set()

    async def _write(self, resource: Resource, status: Status, now: datetime) -> None:
        """The status, and an Event of each change in it. Raises ClusterUnavailable."""
        self._written[resource.name] = time.monotonic()
        if not await self._reconciler.resources.write_status(resource.name, status):
            return
        WRITES.inc()
        if (known := self.known.get(resource.name)) is not None:
            self.known[resource.name] = msgspec.structs.replace(known, status=status)
        for kind, reason, message in changes(resource.status, status):
            await self._reconciler.resources.tell(resource, kind, reason, message, now)


def _show_limits(resources: Iterable[Resource]) -> None:
    """All at once: nobody scrapes in between."""
    LIMITED.clear()
    for resource in resources:
        if limit := resource.status.admission.limited_by:
            LIMITED.labels(resource.name, limit).set(1)


def _asked(resource: Resource) -> tuple[Any, ...]:
    """What a person can have changed."""
    return resource.uid, resource.generation, resource.annotation
