"""The event log on Kafka: what is published has reached all replicas but one when it counts."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.client import AIOKafkaClient  # type: ignore[import-untyped]
from aiokafka.errors import for_code  # type: ignore[import-untyped]
from aiokafka.protocol.offset import OffsetRequest  # type: ignore[import-untyped]

from boxoffice import kafkatopics
from boxoffice.errors import LogUnavailable
from boxoffice.eventlog import Headers, Position, Record, published
from boxoffice.kafkaclient import as_log_unavailable, begun, connection
from boxoffice.kafkaconsumer import KafkaConsumer, record_of
from boxoffice.kafkaproducer import Producer
from boxoffice.kafkatopics import Topic, describe, notices_topic, orders_topic
from boxoffice.settings import Settings

EARLIEST, LATEST = -2, -1
SCAN_RECORDS = 500
SCAN_WAIT_SECONDS = 5.0

logger = logging.getLogger(__name__)


class KafkaLog:
    def __init__(self, settings: Settings) -> None:
        self.topic = orders_topic(settings)
        self.partitions = settings.log_partitions
        """As set, until Kafka was seen for the first time."""
        self._notices = notices_topic(settings)
        self._settings = settings
        self._producer = Producer(settings)

    @classmethod
    async def open(cls, settings: Settings) -> KafkaLog:
        """Kafka out of reach is no reason not to start: payments are recorded and published later."""
        log = cls(settings)
        try:
            await log.log_id()
        except LogUnavailable as fault:
            logger.warning("%s", fault.detail)
        except BaseException:
            await log.close()
            raise
        return log

    async def log_id(self) -> str:
        return (await self._describe()).id

    async def _describe(self) -> Topic:
        topic: Topic = await self._ask(lambda client: describe(client, self.topic))
        self.partitions = len(topic.leaders)
        return topic

    async def _ask(self, question: Callable[[AIOKafkaClient], Awaitable[Any]]) -> Any:
        return await self._producer.do(lambda producer: question(producer.client))

    async def publish(self, key: bytes, value: bytes, headers: Headers = ()) -> Position:
        async def send(producer: AIOKafkaProducer) -> Any:
            partition = _partition(key, await producer.partitions_for(self.topic))
            return await producer.send_and_wait(self.topic, value, key, partition, headers=list(headers))

        with published():
            found = await self._producer.do(send)
        return Position(found.partition, found.offset)

    async def announce(self, notices: Sequence[tuple[bytes, bytes]]) -> None:
        async def send(producer: AIOKafkaProducer) -> None:
            partitions = await producer.partitions_for(self._notices)
            by_partition = defaultdict(list)
            for key, value in notices:
                by_partition[_partition(key, partitions)].append((key, value))
            await asyncio.gather(*(_send_all(producer, self._notices, *each) for each in by_partition.items()))

        await self._producer.do(send)

    async def keep(self, seconds: int) -> None:
        await self._ask(lambda client: kafkatopics.keep(client, self.topic, seconds))

    async def begins(self) -> list[int]:
        return await self._offsets(EARLIEST)

    async def ends(self) -> list[int]:
        return await self._offsets(LATEST)

    async def _offsets(self, which: int) -> list[int]:
        topic = await self._describe()
        asked = defaultdict(list)
        for partition, leader in enumerate(topic.leaders):
            asked[leader].append((partition, which))
        answers = await asyncio.gather(*(self._offsets_at(leader, parts) for leader, parts in asked.items()))
        found = {partition: offset for answer in answers for partition, offset in answer.items()}
        return [found[partition] for partition in range(len(topic.leaders))]

    async def _offsets_at(self, leader: int, asked: list[tuple[int, int]]) -> dict[int, int]:
        request = OffsetRequest(-1, 0, [(self.topic, asked)])
        [(_, answers)] = (await self._ask(lambda client: client.send(leader, request))).topics
        for partition, error_code, *_ in answers:
            if error_code:
                raise LogUnavailable(f"partition {partition}: {for_code(error_code).__name__}")
        return {partition: offset for partition, _, _, offset in answers}

    async def scan(self, partition: int, start: int, stop: int) -> AsyncIterator[list[Record]]:
        start = max(start, (await self.begins())[partition])
        if start >= stop:
            return
        with as_log_unavailable():
            consumer = AIOKafkaConsumer(
                **connection(self._settings), auto_offset_reset="none", enable_auto_commit=False
            )
            try:
                await begun(consumer.start())
                async for records in _read(consumer, TopicPartition(self.topic, partition), start, stop):
                    yield records
            finally:
                await consumer.stop()

    def consumer(self) -> KafkaConsumer:
        return KafkaConsumer(self, self._settings)

    async def close(self) -> None:
        await self._producer.close()


def _partition(key: bytes, partitions: set[int]) -> int:
    """Not Kafka's own choice: aiokafka's murmur2 is Python, and takes 12 µs a record."""
    return zlib.crc32(key) % len(partitions)


async def _send_all(
    producer: AIOKafkaProducer, topic: str, partition: int, notices: Sequence[tuple[bytes, bytes]]
) -> None:
    """By batches that we fill: one answer is waited for a batch, not one a record."""
    batch = producer.create_batch()
    for key, value in notices:
        if batch.append(key=key, value=value, timestamp=None) is None:
            await (await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    await (await producer.send_batch(batch, topic, partition=partition))


async def _read(
    consumer: AIOKafkaConsumer, partition: TopicPartition, start: int, stop: int
) -> AsyncIterator[list[Record]]:
    consumer.assign([partition])
    consumer.seek(partition, start)
    while start < stop:
        found = await consumer.getmany(timeout_ms=SCAN_WAIT_SECONDS * 1000, max_records=SCAN_RECORDS)
        if not found:
            raise LogUnavailable(f"partition {partition.partition} gives nothing at {start}, though it goes to {stop}")
        records = [record_of(found) for found in found[partition] if found.offset < stop]
        start = found[partition][-1].offset + 1
        yield records
