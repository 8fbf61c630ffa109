"""A member of the consumer group on Kafka: the group shares the partitions, the ledger says where each goes on.

Dynamic membership that leaves at once, positions by hand, a partition paused until it is sought. What Kafka is
told of offsets only shows the lag.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError, OffsetOutOfRangeError  # type: ignore[import-untyped]
from aiokafka.structs import ConsumerRecord  # type: ignore[import-untyped]

from boxoffice.errors import LogUnavailable
from boxoffice.eventlog import REBALANCES, Assigned, EventLog, Record, Revoked
from boxoffice.kafkaclient import as_log_unavailable, begun, connection
from boxoffice.settings import Settings
from boxoffice.tasks import end

LOOK_SECONDS = 1.0
REJOIN_SECONDS = 0.5
STOP_SECONDS = 10.0

# A silent member is out after the shortest session that brokers allow by default; the others hear of it with
# their next heartbeat. A rebalance waits for the batches in hand, and no request for less than a rebalance.
SESSION_MS = 6_000
HEARTBEAT_MS = 500
REBALANCE_MS = 15_000
REQUEST_MS = 20_000
FETCH_WAIT_MS = 100
RETRY_MS = 300
FOREVER_MS = 2**31 - 1
"""A partition that waits for the ledger is no dead consumer, however long it takes."""

logger = logging.getLogger(__name__)


class KafkaConsumer:
    def __init__(self, log: EventLog, settings: Settings) -> None:
        self._log = log
        self._settings = settings
        self._group = f"{settings.instance}.settle"
        self._consumer: AIOKafkaConsumer | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._revoking = asyncio.Lock()
        self._owned: set[int] = set()
        self._settled: dict[TopicPartition, int] = {}
        self._failure: BaseException | None = None

    async def start(self, on_assigned: Assigned, on_revoked: Revoked) -> None:
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._belonging = asyncio.create_task(self._belong())

    async def _belong(self) -> None:
        while True:
            try:
                await self._be_member(await self._log.log_id())
            except (KafkaError, LogUnavailable) as error:
                logger.warning("not a consumer now: %s", error)
            await self._leave()
            await asyncio.sleep(REJOIN_SECONDS)

    async def _be_member(self, log_id: str) -> None:
        """One membership, on this log; it ends when the log was made anew. Raises KafkaError."""
        self._consumer = consumer = self._new_consumer()
        consumer.subscribe([self._log.topic], listener=_Listener(self, log_id))
        await begun(consumer.start())
        while await self._is_still(log_id):
            await _check(consumer, self._log.topic)
            await self._show_settled()
            await asyncio.sleep(LOOK_SECONDS)
        logger.warning("%s was made anew", self._log.topic)

    def _new_consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **connection(self._settings),
            group_id=self._group,
            auto_offset_reset="none",
            enable_auto_commit=False,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            request_timeout_ms=REQUEST_MS,
            max_poll_interval_ms=FOREVER_MS,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            retry_backoff_ms=RETRY_MS,
        )

    async def _is_still(self, log_id: str) -> bool:
        try:
            return await self._log.log_id() == log_id
        except LogUnavailable:
            return True

    async def _leave(self) -> None:
        """Goes on to its end even when whoever waits for it is cancelled."""
        if self._leaving is None and self._consumer is not None:
            self._leaving = asyncio.create_task(self._depart(self._consumer))
        if self._leaving is not None:
            await asyncio.shield(self._leaving)
            self._leaving = None

    async def _depart(self, consumer: AIOKafkaConsumer) -> None:
        """The others take over at once, when what is in hand is finished."""
        await self.revoked()
        self._consumer = None
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await consumer.stop()
        except (KafkaError, TimeoutError) as error:
            logger.warning("left without saying so: %s", error or "no answer")

    async def assigned(self, log_id: str, partitions: Sequence[int]) -> None:
        """An exception out of here would be swallowed by aiokafka: `check` raises it."""
        try:
            await self._take(log_id, partitions)
        except Exception as error:
            self._failure = error

    async def _take(self, log_id: str, partitions: Sequence[int]) -> None:
        if self._consumer is None or self._leaving is not None:
            return
        self._consumer.pause(*self._consumer.assignment())
        if not await self._is_still(log_id):
            return
        REBALANCES.inc()
        self._owned = set(partitions)
        self._on_assigned(log_id, sorted(partitions))

    async def revoked(self) -> None:
        async with self._revoking:
            owned, self._owned = self._owned, set()
            if not owned:
                return
            try:
                await self._on_revoked(sorted(owned))
            except Exception as error:
                self._failure = error
            await self._show_settled()

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._belonging.done():
            self._belonging.result()

    def seek(self, partition: int, offset: int) -> None:
        found = TopicPartition(self._log.topic, partition)
        if self._consumer is not None and found in self._consumer.assignment():
            self._consumer.seek(found, offset)
            self._consumer.resume(found)

    async def fetch(self, partition: int, limit: int, wait_seconds: float) -> list[Record]:
        self.check()
        consumer, wanted = self._consumer, TopicPartition(self._log.topic, partition)
        if consumer is None:
            raise LogUnavailable("not a member of the consumer group now")
        with as_log_unavailable():
            try:
                found = await consumer.getmany(wanted, timeout_ms=wait_seconds * 1000, max_records=limit)
            except OffsetOutOfRangeError:
                await self._skip_what_is_gone(consumer, wanted)
                return []
        return [record_of(record) for record in found.get(wanted, ())]

    async def _skip_what_is_gone(self, consumer: AIOKafkaConsumer, partition: TopicPartition) -> None:
        at, begin = await consumer.position(partition), (await self._log.begins())[partition.partition]
        if at > begin:
            raise LogUnavailable(f"partition {partition.partition} ends before {at}: the log has lost records")
        consumer.seek(partition, begin)

    async def commit(self, partition: int, offset: int) -> None:
        """Kafka is told once a second."""
        self._settled[TopicPartition(self._log.topic, partition)] = offset

    async def _show_settled(self) -> None:
        if self._consumer is None:
            return
        ours = self._consumer.assignment()
        settled = {partition: offset for partition, offset in self._settled.items() if partition in ours}
        self._settled = {}
        if not settled:
            return
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._consumer.commit(settled)
        except (KafkaError, TimeoutError) as error:
            logger.info("the lag that Kafka shows is behind: %s", error or "no answer")

    async def close(self) -> None:
        await end([self._belonging])
        await self._leave()
        if not self._belonging.cancelled():
            self._belonging.result()
        if self._failure is not None:
            raise self._failure


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, consumer: KafkaConsumer, log_id: str) -> None:
        self._consumer, self._log_id = consumer, log_id

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._consumer.revoked()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._consumer.assigned(self._log_id, [partition.partition for partition in assigned])


async def _check(consumer: AIOKafkaConsumer, topic: str) -> None:
    """Raises what ended the membership: asked for no partition, `getmany` does just that."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await consumer.getmany(TopicPartition(topic, -1))
    except TimeoutError:
        pass  # a rebalance is under way


def record_of(found: ConsumerRecord) -> Record:
    return Record(found.partition, found.offset, found.key or b"", found.value or b"", found.timestamp, found.headers)
