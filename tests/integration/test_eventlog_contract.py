"""What every event log must do, whatever engine it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from boxoffice.embedded import EmbeddedStore
from boxoffice.errors import LogUnavailable
from boxoffice.eventlog import Consumer, EventLog, Position, Record, open_log, prepare_log
from boxoffice.local.kafka import LocalKafka
from boxoffice.settings import Settings
from boxoffice.store import Store

PARTITIONS = 4


Server = EmbeddedStore | LocalKafka


@pytest.fixture(params=["streams", "kafka"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def changes(engine: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What leads to the log of the run; nothing for streams, which lie on its Valkey."""
    kafka: LocalKafka | None = request.getfixturevalue("kafka") if engine == "kafka" else None
    return kafka.changes if kafka else {}


@pytest.fixture
async def log(settings: Settings, store: Store, changes: dict[str, Any]) -> AsyncIterator[EventLog]:
    settings = replace(settings, log_partitions=PARTITIONS, **changes)
    await prepare_log(settings, store)
    log = await open_log(settings, store)
    yield log
    await log.close()


@dataclass
class Member:
    """A consumer with its own record of what it was told."""

    consumer: Consumer
    owned: set[int] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_assigned(self, log_id: str, partitions: Sequence[int]) -> None:
        assert not self.owned & set(partitions)
        self.owned |= set(partitions)
        for partition in partitions:
            self.consumer.seek(partition, 0)
        self.changed.set()

    async def on_revoked(self, partitions: Sequence[int]) -> None:
        assert set(partitions) <= self.owned
        self.owned -= set(partitions)
        self.changed.set()

    async def until(self, count: int, seconds: float = 60.0) -> None:
        await self.when(lambda: len(self.owned) == count, seconds)

    async def when(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def member(log: EventLog, changed: asyncio.Event | None = None) -> AsyncIterator[Member]:
    member = Member(log.consumer(), changed=changed or asyncio.Event())
    await member.consumer.start(member.on_assigned, member.on_revoked)
    try:
        yield member
    finally:
        await member.consumer.close()


async def publish(log: EventLog, count: int) -> dict[bytes, Position]:
    keys = [b"%016d" % i for i in range(count)]
    positions = await asyncio.gather(*(log.publish(key, b"value of " + key) for key in keys))
    return dict(zip(keys, positions, strict=True))


async def drain(member: Member, partition: int, count: int = 0) -> list[Record]:
    """Waits for so many, and takes what else there is."""
    found: list[Record] = []
    while records := await member.consumer.fetch(partition, 7, 5.0 if len(found) < count else 0.05):
        found += records
    return found


async def everything(log: EventLog) -> list[Record]:
    begins, ends = await log.begins(), await log.ends()
    return [r for p in range(log.partitions) async for chunk in log.scan(p, begins[p], ends[p]) for r in chunk]


async def test_offsets_are_dense_and_the_ends_are_one_past_them(log: EventLog) -> None:
    positions = list((await publish(log, 200)).values())
    ends = await log.ends()
    assert len(ends) == log.partitions == PARTITIONS
    for partition in range(PARTITIONS):
        assert sorted(p.offset for p in positions if p.partition == partition) == list(range(ends[partition]))
    assert min(ends) > 0, "keys spread over the partitions"
    assert await log.begins() == [0] * PARTITIONS


async def test_a_key_always_goes_to_the_same_partition(log: EventLog) -> None:
    first, second = await publish(log, 30), await publish(log, 30)
    assert {k: p.partition for k, p in first.items()} == {k: p.partition for k, p in second.items()}


async def test_a_record_is_read_as_it_was_published(log: EventLog) -> None:
    position = await log.publish(b"\x00\xff key", b"\x00\x01\xff\r\n value")
    [record] = await everything(log)
    assert (record.key, record.value) == (b"\x00\xff key", b"\x00\x01\xff\r\n value")
    assert (record.partition, record.offset) == position
    assert 1_600_000_000_000 < record.timestamp_ms < 4_000_000_000_000
    assert list(record.headers) == []


async def test_headers_come_back(log: EventLog) -> None:
    headers = (("v", b"1"), ("traceparent", b"\x00\xff"))
    await log.publish(b"key", b"value", headers)
    [record] = await everything(log)
    assert tuple(record.headers) == headers


async def test_notices_to_third_parties_are_no_records(log: EventLog) -> None:
    await log.announce([(b"order %d" % i, b"value") for i in range(1000)])
    await log.announce([])
    assert await everything(log) == []


async def test_keeping_is_asked_for_again_and_again(log: EventLog) -> None:
    await log.keep(3600)
    await log.keep(30 * 24 * 3600)
    await log.keep(3600)


async def test_an_exception_in_a_callback_is_not_lost(log: EventLog) -> None:
    asked = asyncio.Event()

    def on_assigned(log_id: str, partitions: Sequence[int]) -> None:
        asked.set()
        raise ZeroDivisionError

    async def on_revoked(partitions: Sequence[int]) -> None: ...

    consumer = log.consumer()
    await consumer.start(on_assigned, on_revoked)
    await asyncio.wait_for(asked.wait(), 10)
    await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        consumer.check()
    with pytest.raises(ZeroDivisionError):
        await consumer.close()


async def test_scan_keeps_to_its_bounds_and_crosses_chunks(log: EventLog) -> None:
    for _ in range(1200):
        position = await log.publish(b"one key", b"x")
    found = [r.offset async for chunk in log.scan(position.partition, 100, 1150) for r in chunk]
    assert found == list(range(100, 1150))


async def test_one_consumer_gets_all_in_order(log: EventLog) -> None:
    published = await publish(log, 100)
    async with member(log) as alone:
        await alone.until(PARTITIONS)
        for partition in range(PARTITIONS):
            wanted = {k for k, p in published.items() if p.partition == partition}
            records = await drain(alone, partition, len(wanted))
            assert [r.offset for r in records] == list(range(len(records)))
            assert {r.key for r in records} == wanted


async def test_a_fetch_waits_for_the_next_record(log: EventLog) -> None:
    async with member(log) as alone:
        await alone.until(PARTITIONS)
        fetches = [asyncio.create_task(alone.consumer.fetch(p, 10, 5.0)) for p in range(PARTITIONS)]
        position = await log.publish(b"key", b"value")
        async with asyncio.timeout(60):
            [record] = await fetches[position.partition]
        assert record.offset == position.offset
        assert not any(fetch.done() for p, fetch in enumerate(fetches) if p != position.partition)
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)


async def test_seek_goes_back_and_forth(log: EventLog) -> None:
    positions = [await log.publish(b"key", b"%d" % i) for i in range(10)]
    partition = positions[0].partition
    async with member(log) as alone:
        await alone.until(PARTITIONS)
        alone.consumer.seek(partition, 7)
        assert [r.offset for r in await drain(alone, partition, 3)] == [7, 8, 9]
        alone.consumer.seek(partition, 2)
        assert [r.offset for r in await alone.consumer.fetch(partition, 3, 5.0)] == [2, 3, 4]


async def test_consumers_share_the_partitions_and_take_over_at_once_from_one_that_leaves(log: EventLog) -> None:
    async with member(log) as first:
        await first.until(PARTITIONS)
        async with member(log, first.changed) as second, member(log, first.changed) as third:
            members = (first, second, third)
            await first.when(lambda: sorted(len(m.owned) for m in members) == [1, 1, 2])
            assert first.owned | second.owned | third.owned == set(range(PARTITIONS))
        await first.until(PARTITIONS, seconds=5)  # sooner than a session runs out


async def test_a_revoked_partition_is_not_passed_on_before_the_batch_in_hand_is_done(log: EventLog) -> None:
    has_all, finished, asked = asyncio.Event(), asyncio.Event(), asyncio.Event()
    consumer = log.consumer()

    async def on_revoked(partitions: Sequence[int]) -> None:
        asked.set()
        await finished.wait()

    await consumer.start(lambda log_id, partitions: has_all.set(), on_revoked)
    await has_all.wait()
    async with member(log) as second:
        await asyncio.wait_for(asked.wait(), 60)
        assert not second.owned
        finished.set()
        await second.until(2)
        await consumer.close()
        await second.until(4)


async def test_who_leaves_finishes_the_batch_in_hand_first_and_then_says_so(log: EventLog) -> None:
    has_all, done = asyncio.Event(), asyncio.Event()
    consumer = log.consumer()

    async def on_revoked(partitions: Sequence[int]) -> None:
        await asyncio.sleep(1.0)
        assert not second.owned & set(partitions)
        done.set()

    await consumer.start(lambda log_id, partitions: has_all.set(), on_revoked)
    await has_all.wait()
    second = Member(log.consumer())
    closing = asyncio.create_task(consumer.close())
    await asyncio.sleep(0.05)
    await second.consumer.start(second.on_assigned, second.on_revoked)
    await closing
    assert done.is_set()
    await second.until(PARTITIONS, seconds=5)
    await second.consumer.close()


async def test_commit_is_no_position(log: EventLog) -> None:
    """What a consumer says to the log must not decide where the next one begins: the ledger does."""
    position = await log.publish(b"key", b"value")
    async with member(log) as first:
        await first.until(PARTITIONS)
        await drain(first, position.partition, 1)
        await first.consumer.commit(position.partition, 1)
    async with member(log) as second:
        await second.until(PARTITIONS)
        assert len(await drain(second, position.partition, 1)) == 1


@dataclass
class Fragile:
    """A log on a server of its own, which the test may kill."""

    server: Server
    settings: Settings
    store: Store
    log: EventLog

    async def wipe(self) -> None:
        await self.server.kill()
        self.server.wipe()
        await self.server.start()
        await again(lambda: prepare_log(self.settings, self.store))


@pytest.fixture
async def fragile(
    engine: str, tmp_path: Path, settings: Settings, settings_for: Callable[[EmbeddedStore], Settings]
) -> AsyncIterator[Fragile]:
    server: Server
    if engine == "kafka":
        server = LocalKafka(tmp_path / "kafka")
        await server.start()
        settings = replace(settings, **server.changes)
    else:
        server = EmbeddedStore(tmp_path / "valkey")
        await server.start()
        settings = settings_for(server)
    settings = replace(settings, log_partitions=2, publish_seconds=1.0)
    store = await Store.open(settings)
    await prepare_log(settings, store)
    log = await open_log(settings, store)
    yield Fragile(server, settings, store, log)
    await log.close()
    await store.close()
    await server.stop()


async def test_publish_says_within_its_bound_that_the_log_is_out_of_reach(
    fragile: Fragile,
) -> None:
    log, server = fragile.log, fragile.server
    await log.publish(b"key", b"value")
    await server.kill()
    async with asyncio.timeout(20):
        with pytest.raises(LogUnavailable):
            await log.publish(b"key", b"value")


async def test_a_restart_keeps_log_and_records_and_gives_no_offset_twice(
    fragile: Fragile,
) -> None:
    log, server = fragile.log, fragile.server
    log_id = await log.log_id()
    before = [await log.publish(b"key", b"%d" % i) for i in range(5)]
    await server.kill()
    await server.start()
    after = await again(lambda: log.publish(b"key", b"after"))
    assert await log.log_id() == log_id
    assert after.partition == before[0].partition
    assert after.offset > before[-1].offset, "the server may forget its last second, its offsets are not reused"
    records = [r.value async for chunk in log.scan(after.partition, 0, after.offset + 1) for r in chunk]
    assert records == [b"0", b"1", b"2", b"3", b"4", b"after"][6 - len(records) :]


async def test_a_wiped_log_is_another_log_and_consumers_are_told(fragile: Fragile) -> None:
    log = fragile.log
    log_ids: asyncio.Queue[str] = asyncio.Queue()
    published, renewed = asyncio.Event(), asyncio.Event()
    consumer = log.consumer()

    async def on_revoked(partitions: Sequence[int]) -> None:
        await published.wait()
        if not renewed.is_set():  # a batch of the old log is finished: that trims nothing of the new one
            await consumer.commit(partitions[0], 50_000)

    await consumer.start(lambda log_id, partitions: log_ids.put_nowait(log_id), on_revoked)
    first = await asyncio.wait_for(log_ids.get(), 60)
    for _ in range(3):
        await log.publish(b"key", b"old")
    await fragile.wipe()
    position = await again(lambda: log.publish(b"key", b"new"))
    published.set()
    assert position.offset == 0
    assert await asyncio.wait_for(log_ids.get(), 60) == await again(log.log_id) != first
    renewed.set()
    await consumer.close()
    assert len(await again(lambda: everything(log))) == 1


Answer = TypeVar("Answer")


async def again(publish: Callable[[], Awaitable[Answer]]) -> Answer:
    async with asyncio.timeout(30):
        while True:
            try:
                return await publish()
            except LogUnavailable:
                await asyncio.sleep(0.05)
