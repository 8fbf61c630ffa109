"""The event log fails under a crowd: gone, short of a broker, out of order, made anew."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]

from boxoffice.eventlog import Record
from boxoffice.events import OrderEvent
from boxoffice.kafkaclient import connection
from boxoffice.kafkalog import KafkaLog
from boxoffice.kafkatopics import prepare_topics
from boxoffice.local.kafka import LocalKafka
from boxoffice.settings import Settings
from tests.chaos.conftest import Chaos
from tests.chaos.houses import Houses
from tests.chaos.night import Night
from tests.integration.test_eventlog_contract import everything

pytestmark = pytest.mark.asyncio(loop_scope="session")
"""The houses' own."""

SETTLES = ("settle", "settle-2")


async def test_one_broker_of_three_is_gone(houses: Houses, chaos: Chaos) -> None:
    count = chaos.scale(1, 6)
    async with houses.night(brokers=3) as night:
        kafka = night.engine(LocalKafka)
        async with night.crowd() as crowd:
            for nth in range(count):
                await crowd.paid(20)
                await kafka.brokers[nth % 3].kill()
                await crowd.heals()
                await kafka.start()
                await crowd.heals()
        findings = await night.close()
    chaos.row("one of three brokers is gone", count, findings)
    findings.assert_clean()


async def test_kafka_is_gone(houses: Houses, chaos: Chaos) -> None:
    seconds = chaos.scale(3, 60)
    async with houses.night() as night:
        kafka = night.engine(LocalKafka)
        async with night.crowd() as crowd:
            await crowd.paid(20)
            await kafka.kill()
            await asyncio.sleep(seconds)
            await kafka.start()
            await crowd.heals()
            await crowd.paid(20)
        findings = await night.close()
        orders = await night.orders("id, state")
        told = await announced(night)
    chaos.row(f"Kafka is gone for {seconds} s", 1, findings)
    findings.assert_clean()
    assert {(order, state) for order, state in orders if state == "paid"} == told


async def announced(night: Night) -> set[tuple[str, str]]:
    """What third parties were told of the sale: order and state."""
    settings = night.stack.settings()
    log = KafkaLog(settings)
    log.topic = f"{settings.instance}.order-events"
    events = [msgspec.json.decode(record.value, type=OrderEvent) for record in await everything(log)]
    await log.close()
    return {(event.order, event.state) for event in events if event.sale == night.sale}


async def test_kafka_stands_still(houses: Houses, chaos: Chaos) -> None:
    """What it was sent meanwhile it takes later, when the relay has sent it too: late, twice, out of order."""
    count = chaos.scale(1, 10)
    async with houses.night() as night:
        kafka = night.engine(LocalKafka)
        async with night.crowd() as crowd:
            for _ in range(count):
                await crowd.paid(20)
                kafka.pause()
                await asyncio.sleep(4)
                kafka.resume()
                await crowd.heals()
        findings = await night.close()
    chaos.row("Kafka stands still for 4 s", count, findings)
    findings.assert_clean()


async def test_the_topic_is_wiped_and_made_anew(houses: Houses, chaos: Chaos) -> None:
    """Not settled yet, when they are wiped: settlement stands still meanwhile."""
    count = chaos.scale(1, 5)
    async with houses.night() as night:
        async with night.crowd() as crowd:
            for _ in range(count):
                await crowd.paid(20)
                await asyncio.gather(*(night.stack.child(name).kill() for name in SETTLES))
                await asyncio.sleep(1)
                await make_anew(night.stack.settings())
                await asyncio.gather(*(night.stack.restart(name) for name in SETTLES))
                await crowd.heals()
                await make_anew(night.stack.settings())
                await crowd.heals()
        findings = await night.close()
    chaos.row("the topic is wiped and made anew", 2 * count, findings)
    findings.assert_clean()


async def longest_wait(night: Night) -> float:
    """Seconds from placed to settled, of the order that waited longest: so long its partition was idle."""
    [[milliseconds]] = await night.orders("max(settled_ms - placed_ms)")
    return float(milliseconds) / 1000


async def test_consumers_leave_and_come_back_one_by_one(houses: Houses, chaos: Chaos) -> None:
    count = chaos.scale(1, 10)
    async with houses.night() as night:
        async with night.crowd() as crowd:
            for _ in range(count):
                for name in SETTLES:
                    await crowd.paid(20)
                    await night.stack.restart(name)
            await crowd.heals()
        findings = await night.close()
        waited = await longest_wait(night)
    chaos.row(f"consumers restart one by one (longest wait {waited:.1f} s)", 2 * count, findings)
    findings.assert_clean()
    assert waited < 15


async def test_a_consumer_is_killed_and_the_other_takes_over(houses: Houses, chaos: Chaos) -> None:
    count = chaos.scale(1, 10)
    async with houses.night() as night:
        async with night.crowd() as crowd:
            for _ in range(count):
                await crowd.paid(20)
                await night.stack.child("settle").kill()
                await crowd.heals()
                await night.stack.restart("settle")
        findings = await night.close()
        waited = await longest_wait(night)
    chaos.row(f"a consumer is killed (longest wait {waited:.1f} s)", count, findings)
    findings.assert_clean()
    assert waited < 10


async def make_anew(settings: Settings) -> None:
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    await admin.delete_topics([f"{settings.instance}.orders"])
    await admin.close()
    await prepare_topics(settings)


async def test_records_come_twice_late_and_out_of_order(houses: Houses, chaos: Chaos) -> None:
    async with houses.night() as night:
        async with echo(night.stack.settings()) as repeated, night.crowd() as crowd:
            await crowd.paid(chaos.scale(40, 1000), seconds=300)
            await crowd.heals()
        findings = await night.close()
    chaos.row("records come twice, late, out of order", len(repeated), findings)
    findings.assert_clean()
    assert len(repeated) > findings.paid


@asynccontextmanager
async def echo(settings: Settings) -> AsyncIterator[list[Record]]:
    """Sends every record twice more, up to five seconds later, to partitions that are not its own too: its copies
    are settled by others, at the same time, before it and after it."""
    log, repeated, over = await KafkaLog.open(settings), list[Record](), asyncio.Event()
    producer = AIOKafkaProducer(**connection(settings))
    await producer.start()

    async def repeat(record: Record) -> None:
        await asyncio.sleep(random.choice((0, random.uniform(0, 5))))
        partition = random.randrange(log.partitions)
        await producer.send_and_wait(log.topic, record.value, record.key, partition, headers=list(record.headers))
        repeated.append(record)

    async def listen(group: asyncio.TaskGroup) -> None:
        """Never cancelled: aiokafka leaves the connection open on which it is just beginning."""
        seen, read = set[bytes](), [0] * log.partitions
        while not over.is_set():
            for partition, stop in enumerate(await log.ends()):
                async for records in log.scan(partition, read[partition], stop):
                    fresh = [record for record in records if record.key not in seen]
                    seen.update(record.key for record in fresh)
                    for record in (*fresh, *fresh):
                        group.create_task(repeat(record))
                read[partition] = stop
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        group.create_task(listen(group))
        yield repeated
        over.set()
    await producer.stop()
    await log.close()
