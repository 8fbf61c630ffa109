"""What is particular to the log on Kafka: how topics are made, brokers that fail, a group that shares the work."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import client as aiokafka_client  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete  # type: ignore[import-untyped]
from aiokafka.admin.config_resource import ConfigResource  # type: ignore[import-untyped]
from aiokafka.conn import create_conn  # type: ignore[import-untyped]
from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]

from boxoffice import kafkaproducer
from boxoffice.embedded import Child
from boxoffice.enginechecks import look_at_topics
from boxoffice.errors import BadInput, LogUnavailable
from boxoffice.kafkaclient import connection
from boxoffice.kafkalog import KafkaLog
from boxoffice.kafkatopics import prepare_topics
from boxoffice.local.kafka import LocalKafka
from boxoffice.settings import Settings
from tests.integration.test_eventlog_contract import again, drain, everything, member

TWO = 2


@pytest.fixture
def settings(kafka: LocalKafka, settings: Settings) -> Settings:
    return replace(settings, log_partitions=TWO, **kafka.changes)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[KafkaLog]:
    await prepare_topics(settings)
    log = await KafkaLog.open(settings)
    yield log
    await log.close()


@asynccontextmanager
async def own_kafka(folder: Path, settings: Settings, brokers: int = 1) -> AsyncIterator[tuple[LocalKafka, Settings]]:
    server = LocalKafka(folder / "kafka", brokers)
    await server.start()
    yield server, replace(settings, **server.changes)
    await server.stop()


@asynccontextmanager
async def administered(settings: Settings) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    yield admin
    await admin.close()


async def configured(settings: Settings, topic: str) -> dict[str, str]:
    async with administered(settings) as admin:
        [answer] = await admin.describe_configs([ConfigResource("TOPIC", topic)])
        [(_, _, _, _, entries)] = answer.resources
        return {entry[0]: entry[1] for entry in entries}


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> float:
    """How long it took."""
    begun = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)
    return time.monotonic() - begun


async def test_many_may_prepare_at_once_and_again(settings: Settings) -> None:
    await asyncio.gather(*(prepare_topics(settings) for _ in range(8)))
    await prepare_topics(replace(settings, log_partitions=7))
    log = await KafkaLog.open(replace(settings, log_partitions=7))
    assert log.partitions == TWO, "a topic keeps the partitions that it was made with"
    assert await log.ends() == [0, 0]
    await log.close()
    await assert_safe(settings, in_sync=1)


async def assert_safe(settings: Settings, in_sync: int) -> None:
    for topic in (f"{settings.instance}.orders", f"{settings.instance}.order-events"):
        found = await configured(settings, topic)
        assert found["min.insync.replicas"] == str(in_sync)
        assert found["unclean.leader.election.enable"] == "false"
        assert found["cleanup.policy"] == "delete"
        assert found["message.timestamp.type"] == "LogAppendTime"
        assert int(found["retention.ms"]) == 7 * 24 * 3600 * 1000


async def test_records_are_kept_longer_never_shorter(settings: Settings) -> None:
    async with opened(settings) as log:
        for seconds, days in ((3600, 7), (9 * 86400, 9), (8 * 86400, 9)):
            await log.keep(seconds)
            assert int((await configured(settings, log.topic))["retention.ms"]) == days * 86_400_000


async def test_more_copies_than_brokers_is_said_in_a_sentence(settings: Settings) -> None:
    with pytest.raises(LogUnavailable, match=r"does not make .*replication"):
        await prepare_topics(replace(settings, log_replicas=5))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"log_url": "kafka://"}, "kafka://host:port"),
        ({"log_url": "kafka:9092"}, "kafka://host:port"),
        ({"log_url": "kafka://one:9092,two"}, "kafka://host:port"),
        ({"log_sasl": "GSSAPI"}, "log_sasl must be one of"),
        ({"log_ca_file": "/nowhere.pem"}, "certificates"),
    ],
)
async def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        await KafkaLog.open(replace(Settings(log_url="kafka://127.0.0.1:1"), **changes))


async def test_starts_without_kafka_and_publishes_when_it_is_there(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafkaproducer, "RENEW_SECONDS", 0.0)
    async with own_kafka(tmp_path, settings) as (server, own):
        await prepare_topics(own)
        await server.stop()
        log = await KafkaLog.open(replace(own, publish_seconds=0.5))
        late = asyncio.create_task(log.publish(b"key", b"value"))
        await asyncio.sleep(0.2)
        for publishing in (log.publish(b"key", b"value"), late, log.publish(b"key", b"value")):
            with pytest.raises(LogUnavailable):
                await publishing
        await server.start()
        assert (await again(lambda: log.publish(b"key", b"value"))).offset == 0
        await log.close()


async def test_a_kafka_that_stands_still_holds_nobody_up(tmp_path: Path, settings: Settings) -> None:
    async with own_kafka(tmp_path, replace(settings, publish_seconds=1.0)) as (server, own), opened(own) as log:
        await log.publish(b"key", b"value")
        server.pause()
        async with asyncio.timeout(20):
            results = await asyncio.gather(
                *(log.publish(b"%d" % i, b"value") for i in range(300)),
                log.ends(),
                log.log_id(),
                return_exceptions=True,
            )
        assert all(isinstance(result, LogUnavailable) for result in results)
        server.resume()
        await again(lambda: log.publish(b"key", b"value"))


async def test_a_topic_that_is_missing_is_out_of_reach(settings: Settings) -> None:
    log = await KafkaLog.open(settings)
    for question in (log.publish(b"key", b"value"), log.ends(), log.log_id(), log.keep(1)):
        with pytest.raises(LogUnavailable):
            await question
    await log.close()


async def test_a_producer_whose_sender_has_ended_is_replaced(settings: Settings) -> None:
    async with opened(settings) as log:
        await log.publish(b"key", b"value")
        producer = await log._producer._open()
        producer._sender.sender_task.cancel()
        with pytest.raises(LogUnavailable):
            await log.publish(b"key", b"value")
        await log.publish(b"key", b"value")
        assert await log._producer._open() is not producer


async def test_a_producer_that_is_stuck_is_replaced(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafkaproducer, "RENEW_SECONDS", 0.0)
    async with opened(replace(settings, publish_seconds=0.5)) as log:
        producer = await log._producer._open()
        producer.client._sync_task.cancel()  # the picture of the cluster is never made new again
        producer.client.cluster._partitions.clear()
        with pytest.raises(LogUnavailable):
            await log.publish(b"key", b"value")
        await again(lambda: log.publish(b"key", b"value"))


async def publish_fifty(log: KafkaLog, word: bytes, patient: bool = True) -> None:
    for key in range(50):
        send = partial(log.publish, b"%d" % key, word)
        await (again(send) if patient else send())


async def test_one_broker_of_three_may_go_two_may_not(tmp_path: Path, settings: Settings) -> None:
    async with (
        own_kafka(tmp_path, settings, brokers=3) as (server, three),
        opened(three) as log,
        member(log) as alone,
    ):
        await assert_safe(three, in_sync=2)
        await alone.until(TWO)
        await publish_fifty(log, b"all are there")
        assert (await look_at_topics(three))[0].topic.in_sync == 3
        await server.brokers[0].kill()
        await publish_fifty(log, b"one is gone")
        assert (await look_at_topics(three))[0].topic.in_sync == 2
        await server.brokers[1].kill()
        with pytest.raises(LogUnavailable):
            await publish_fifty(log, b"two are gone", patient=False)
        await server.start()
        await publish_fifty(log, b"all are back")
        ends, read = await again(log.ends), 0

        async def all_read() -> bool:
            nonlocal read
            read += sum([len(await drain(alone, partition)) for partition in range(TWO)])
            return read >= sum(ends)

        await until(all_read, 60)
        values = [record.value for record in await everything(log)]
        for word in (b"all are there", b"one is gone", b"all are back"):
            assert values.count(word) >= 50


async def test_a_topic_made_anew_in_the_same_cluster_is_another_log(settings: Settings) -> None:
    async with opened(settings) as log:
        told: asyncio.Queue[str] = asyncio.Queue()
        consumer = log.consumer()

        async def on_revoked(partitions: object) -> None: ...

        await consumer.start(lambda log_id, partitions: told.put_nowait(log_id), on_revoked)
        first = await asyncio.wait_for(told.get(), 60)
        await log.publish(b"key", b"old")
        async with administered(settings) as admin:
            await admin.delete_topics([log.topic])
        await prepare_topics(settings)
        assert (await again(lambda: log.publish(b"key", b"new"))).offset == 0
        second = await asyncio.wait_for(told.get(), 60)
        assert second != first
        assert second == await log.log_id()
        assert [record.value for record in await everything(log)] == [b"new"]
        await consumer.close()


async def test_a_consumer_goes_on_behind_what_is_gone(settings: Settings) -> None:
    async with opened(settings) as log:
        position = [await log.publish(b"key", b"value") for _ in range(10)][-1]
        async with administered(settings) as admin:
            partition = TopicPartition(log.topic, position.partition)
            await admin.delete_records({partition: RecordsToDelete(before_offset=6)})
        assert (await log.begins())[position.partition] == 6
        async with member(log) as alone:  # it seeks offset 0
            await alone.until(TWO)
            async with asyncio.timeout(60):
                while not (found := await alone.consumer.fetch(position.partition, 10, 1.0)):
                    pass
            assert [record.offset for record in found] == [6, 7, 8, 9]
            alone.consumer.seek(position.partition, 11)
            with pytest.raises(LogUnavailable, match="ends before 11"):
                await alone.consumer.fetch(position.partition, 10, 10.0)


async def test_kafka_shows_what_is_settled(settings: Settings) -> None:
    async with opened(settings) as log:
        position = await log.publish(b"key", b"value")
        async with member(log) as alone:
            await alone.until(TWO)
            await alone.consumer.commit(position.partition, 1)
        async with administered(settings) as admin:
            shown = await admin.list_consumer_group_offsets(f"{settings.instance}.settle")
        assert {p.partition: o.offset for p, o in shown.items()} == {position.partition: 1}


OTHER = """
import asyncio
from boxoffice.eventlog import open_log
from boxoffice.settings import Settings

async def main():
    log = await open_log(Settings.from_env(), None)
    async def on_revoked(partitions): pass
    await log.consumer().start(lambda log_id, partitions: print("given", len(partitions), flush=True), on_revoked)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_partitions_of_a_killed_consumer_are_taken_over(tmp_path: Path, settings: Settings) -> None:
    env = {**os.environ, **{f"BOXOFFICE_{name.upper()}": str(value) for name, value in asdict(settings).items()}}
    async with opened(settings) as log, member(log) as here:
        await here.until(TWO)
        other = Child("other", [sys.executable, "-c", OTHER], tmp_path / "other.log", env)
        await other.start()
        await here.until(1)
        os.kill(other.pid, signal.SIGKILL)
        begun = time.monotonic()
        await here.until(TWO)
        logging.getLogger(__name__).warning("taken over %.1f s after kill -9", time.monotonic() - begun)
        await other.wait()


async def test_rolling_consumers_leave_no_partition_idle(settings: Settings) -> None:
    """One by one comes, and the oldest leaves; every partition is looked at all the time."""
    async with opened(settings) as log:
        seen = {partition: time.monotonic() for partition in range(TWO)}
        longest = dict.fromkeys(range(TWO), 0.0)

        async def attend(consumer: Any, partition: int) -> None:
            while True:
                await consumer.fetch(partition, 10, 0.1)
                longest[partition] = max(longest[partition], time.monotonic() - seen[partition])
                seen[partition] = time.monotonic()

        async with asyncio.TaskGroup() as group:
            tasks: dict[tuple[Any, int], asyncio.Task[None]] = {}

            async def come() -> Any:
                consumer, given = log.consumer(), asyncio.Event()

                def on_assigned(log_id: str, partitions: Any) -> None:
                    for partition in partitions:
                        consumer.seek(partition, 0)
                        tasks[consumer, partition] = group.create_task(attend(consumer, partition))
                    given.set()

                async def on_revoked(partitions: Any) -> None:
                    for partition in partitions:
                        tasks.pop((consumer, partition)).cancel()

                await consumer.start(on_assigned, on_revoked)
                await asyncio.wait_for(given.wait(), 60)
                return consumer

            consumers = [await come(), await come()]
            for partition in seen:
                seen[partition], longest[partition] = time.monotonic(), 0.0
            for _ in range(3):
                consumers.append(await come())
                await consumers.pop(0).close()
                await until(lambda: settled(seen), 60)
            for consumer in consumers:
                await consumer.close()
        logging.getLogger(__name__).warning("longest idle %s s", {p: round(s, 1) for p, s in longest.items()})
        assert max(longest.values()) < 15, longest


async def settled(seen: dict[int, float]) -> bool:
    return all(time.monotonic() - at < 0.5 for at in seen.values())


async def scan_all(settings: Settings) -> None:
    log = KafkaLog(settings)
    try:
        async for _ in log.scan(0, 0, 1):
            pass
    finally:
        await log.close()


@pytest.mark.parametrize("beginning", [look_at_topics, prepare_topics, scan_all, KafkaLog.open])
async def test_who_is_cancelled_while_beginning_leaves_no_connection(
    beginning: Callable[[Settings], Coroutine[Any, Any, Any]], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the moment that aiokafka forgets: the first connection stands, and what it is asked is not answered yet."""
    async with opened(settings) as log:
        await log.publish(b"k", b"v")
    made, stands = list[Any](), asyncio.Event()

    async def create(*where: Any, **how: Any) -> Any:
        made.append(await create_conn(*where, **how))
        stands.set()
        return made[-1]

    monkeypatch.setattr(aiokafka_client, "create_conn", create)
    task = asyncio.create_task(beginning(settings))
    await stands.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [connection.connected() for connection in made].count(True) == 0
