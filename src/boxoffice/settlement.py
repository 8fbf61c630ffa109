"""settle: the process that takes orders from the log, charges them and writes them into the ledger, once.

Each partition is settled in order by one task (`partition.py`), a batch at a time (`batch.py`). Beside them run
what is still owed to single orders (`arrears.py`), the line's checkpoints, and the rebuilding of a lost Redis.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from prometheus_client import Gauge

from boxoffice import tracing
from boxoffice.archive import Archive
from boxoffice.arrears import Arrears
from boxoffice.auditing import Audits
from boxoffice.batch import Batches
from boxoffice.checkpoints import Checkpoints
from boxoffice.deadletters import watch_letters
from boxoffice.effects import sink_of
from boxoffice.enginewatch import watch_engines
from boxoffice.errors import Unavailable
from boxoffice.eventlog import Consumer, open_log
from boxoffice.gateway import PaymentGateway, open_gateway
from boxoffice.ledger import Fenced, Ledger, open_ledger
from boxoffice.migrations import check_tables
from boxoffice.partition import LAST_PROGRESS, OLDEST, Desk, Partition
from boxoffice.probe import Readiness, serve_probes
from boxoffice.recovery import Recovery
from boxoffice.renewals import Renewals
from boxoffice.retention import keep_forever
from boxoffice.samples import Samples
from boxoffice.settings import Settings
from boxoffice.store import Store
from boxoffice.tasks import end
from boxoffice.vitals import watch_loop

OPEN_AGAIN_SECONDS = 1.0
GARBAGE = 50_000
"""New objects until the collector looks for circles among them."""

LAG_SECONDS = 2.0

LAG = Gauge("boxoffice_settle_lag", "Records of the log that are not settled yet", ["partition"])
POOL_IN_USE = Gauge("boxoffice_ledger_pool_in_use", "Connections to the ledger that are in use")
POOL_SIZE = Gauge("boxoffice_ledger_pool_size", "Connections to the ledger at most")

logger = logging.getLogger(__name__)


class _Closing(Protocol):
    async def close(self) -> None: ...


_Engine = TypeVar("_Engine", bound=_Closing)


class Crew:
    """The partitions that are ours, each with its task."""

    def __init__(self, desk: Desk, consumer: Consumer) -> None:
        self.partitions: dict[int, Partition] = {}
        self.fenced = asyncio.Event()
        self._desk = desk
        self._consumer = consumer

    def on_assigned(self, log_id: str, numbers: Sequence[int]) -> None:
        for number in numbers:
            partition = Partition(self._desk, self._consumer, log_id, number)
            partition.task.add_done_callback(self._on_done)
            self.partitions[number] = partition
        logger.info("settling partitions %s", sorted(self.partitions))

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """A partition ends by itself only when it is fenced off: then we leave and join anew."""
        if not task.cancelled() and (error := task.exception()):
            logger.warning("%s: %s", task.get_name(), error, exc_info=None if isinstance(error, Fenced) else error)
            self.fenced.set()

    async def on_revoked(self, numbers: Sequence[int]) -> None:
        leaving = [self.partitions.pop(number) for number in numbers if number in self.partitions]
        await asyncio.gather(*(partition.leave() for partition in leaving))
        for partition in leaving:
            for gauge in (LAG, LAST_PROGRESS, OLDEST):
                gauge.remove(str(partition.number))


async def run_settlement(settings: Settings) -> None:
    """Until SIGTERM or SIGINT: the batches in hand are finished, then we leave."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop)


async def run(
    settings: Settings,
    stop: asyncio.Event,
    open_gateway: Callable[[Settings], Awaitable[PaymentGateway]] = open_gateway,
) -> None:
    """Settles until `stop`. Engines that are out of reach are waited for, at the start too."""
    async with AsyncExitStack() as stack:
        readiness = Readiness("the engines")
        tracing.start(settings, "settle")
        stack.push_async_callback(tracing.stop)
        await stack.enter_async_context(serve_probes(settings.host, settings.settle_port, readiness))
        reach = Reach(stack, stop, readiness)
        store = await reach.open(lambda: Store.open(settings))
        log = await reach.open(lambda: open_log(settings, store))
        ledger = await reach.open(lambda: _open_ledger(settings))
        _show_pool(ledger)
        gateway = await reach.open(lambda: open_gateway(settings))
        readiness.waits_for = ""
        sink = sink_of(store, log)
        desk = Desk(settings, log, ledger, Batches(ledger, gateway, settings.gateway_concurrency), sink)
        loops = (
            Arrears(ledger, gateway, sink).run(),
            Checkpoints(store, ledger).run(),
            Samples(store, ledger).run(),
            Recovery(settings, store, ledger, log).run(),
            Renewals(store, ledger, log).run(),
            Audits(store, log, ledger, gateway).run(),
            Archive(store, log, ledger).run(),
            keep_forever(log, ledger),
            watch_letters(ledger),
            watch_engines(settings, store),
            watch_loop(),
        )
        _spare_the_collector()
        async with _beside(loops):
            while not stop.is_set():
                await consume(desk, stop)


def _spare_the_collector() -> None:
    """What is alive now stays alive; and of the thousands of objects of a batch hardly one is part of a circle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 10, 10)


async def _open_ledger(settings: Settings) -> Ledger:
    await check_tables(settings)
    return await open_ledger(settings)


def _show_pool(ledger: Ledger) -> None:
    """As it is when Prometheus asks."""
    POOL_IN_USE.set_function(lambda: ledger.connections()[0])
    POOL_SIZE.set_function(lambda: ledger.connections()[1])


@dataclass(slots=True)
class Reach:
    """Opens engines, however long that takes, and says what is waited for."""

    stack: AsyncExitStack
    stop: asyncio.Event
    readiness: Readiness

    async def open(self, opener: Callable[[], Awaitable[_Engine]]) -> _Engine:
        """Raises Unavailable when it is told to stop meanwhile."""
        while True:
            try:
                engine = await opener()
            except Unavailable as fault:
                if self.stop.is_set():
                    raise
                if fault.detail != self.readiness.waits_for:
                    logger.warning("waiting: %s", fault.detail)
                self.readiness.waits_for = fault.detail
                await _either(self.stop, seconds=OPEN_AGAIN_SECONDS)
            else:
                self.stack.push_async_callback(engine.close)
                return engine


@asynccontextmanager
async def _beside(loops: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Runs the loops beside the block; one that fails ends the block, and so the process, with its error."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop) for loop in loops]
        yield
        await end(tasks)


async def consume(desk: Desk, stop: asyncio.Event) -> None:
    """One membership of the consumer group: until `stop`, or until another consumer fenced us off."""
    consumer = desk.log.consumer()
    crew = Crew(desk, consumer)
    await consumer.start(crew.on_assigned, crew.on_revoked)
    try:
        while not await _either(stop, crew.fenced, seconds=LAG_SECONDS):
            consumer.check()
            for partition in crew.partitions.values():
                partition.count_busy()
                partition.show_age()
            await _show_lag(desk, crew)
    finally:
        await consumer.close()


async def _either(*events: asyncio.Event, seconds: float) -> bool:
    """Whether one of the events is set within so many seconds."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    done, pending = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return bool(done)


async def _show_lag(desk: Desk, crew: Crew) -> None:
    try:
        ends = await desk.log.ends()
    except Unavailable:
        return
    for number, partition in crew.partitions.items():
        if partition.claim is not None:
            LAG.labels(str(number)).set(max(0, ends[number] - partition.claim.next))
