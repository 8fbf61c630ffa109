"""What every event log must do, whatever engine it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pytest

from boxoffice.embedded import EmbeddedStore
from boxoffice.errors import LogUnavailable
from boxoffice.eventlog import Consumer, EventLog, Position, Record, open_log
from boxoffice.settings import Settings
from boxoffice.store import Store

PARTITIONS = 4


@pytest.fixture(params=["streams"])
async def log(settings: Settings, store: Store) -> AsyncIterator[EventLog]:
    log = await open_log(replace(settings, log_partitions=PARTITIONS), store)
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

    async def until(self, count: int, seconds: float = 5.0) -> None:
        await self.when(lambda: len(self.owned) == count, seconds)

    async def when(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
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


async def drain(member: Member, partition: int) -> list[Record]:
    found: list[Record] = []
    while records := await member.consumer.fetch(partition, 7, 0.05):
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
            records = await drain(alone, partition)
            assert [r.offset for r in records] == list(range(len(records)))
            assert {r.key for r in records} == {k for k, p in published.items() if p.partition == partition}


async def test_a_fetch_waits_for_the_next_record(log: EventLog) -> None:
    async with member(log) as alone:
        await alone.until(PARTITIONS)
        fetches = [asyncio.create_task(alone.consumer.fetch(p, 10, 5.0)) for p in range(PARTITIONS)]
        position = await log.publish(b"key", b"value")
        async with asyncio.timeout(2):
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
        assert [r.offset for r in await drain(alone, partition)] == [7, 8, 9]
        alone.consumer.seek(partition, 2)
        assert [r.offset for r in await alone.consumer.fetch(partition, 3, 0)] == [2, 3, 4]


async def test_consumers_share_the_partitions_and_take_over_at_once_from_one_that_leaves(log: EventLog) -> None:
    async with member(log) as first:
        await first.until(PARTITIONS)
        async with member(log, first.changed) as second, member(log, first.changed) as third:
            members = (first, second, third)
            await first.when(lambda: sorted(len(m.owned) for m in members) == [1, 1, 2])
            assert first.owned | second.owned | third.owned == set(range(PARTITIONS))
        await first.until(PARTITIONS, seconds=1.5)


async def test_a_revoked_partition_is_not_passed_on_before_the_batch_in_hand_is_done(log: EventLog) -> None:
    has_all, finished, asked = asyncio.Event(), asyncio.Event(), asyncio.Event()
    consumer = log.consumer()

    async def on_revoked(partitions: Sequence[int]) -> None:
        asked.set()
        await finished.wait()

    await consumer.start(lambda log_id, partitions: has_all.set(), on_revoked)
    await has_all.wait()
    async with member(log) as second:
        await asyncio.wait_for(asked.wait(), 5)
        assert not second.owned
        finished.set()
        await second.until(2)
        await consumer.close()
        await second.until(4)


async def test_commit_is_no_position(log: EventLog) -> None:
    """What a consumer says to the log must not decide where the next one begins: the ledger does."""
    position = await log.publish(b"key", b"value")
    async with member(log) as first:
        await first.until(PARTITIONS)
        await drain(first, position.partition)
        await first.consumer.commit(position.partition, 1)
    async with member(log) as second:
        await second.until(PARTITIONS)
        assert len(await drain(second, position.partition)) == 1


@pytest.fixture
async def fragile(
    tmp_path_factory: pytest.TempPathFactory, settings_for: Callable[[EmbeddedStore], Settings]
) -> AsyncIterator[tuple[EventLog, EmbeddedStore]]:
    """A log whose server the test may kill."""
    server = EmbeddedStore(tmp_path_factory.mktemp("fragile") / "data")
    await server.start()
    settings = replace(settings_for(server), log_partitions=2, publish_seconds=0.5)
    store = await Store.open(settings)
    log = await open_log(settings, store)
    yield log, server
    await log.close()
    await store.close()
    await server.stop()


async def test_publish_says_within_its_bound_that_the_log_is_out_of_reach(
    fragile: tuple[EventLog, EmbeddedStore],
) -> None:
    log, server = fragile
    await log.publish(b"key", b"value")
    await server.kill()
    begun = asyncio.get_running_loop().time()
    with pytest.raises(LogUnavailable):
        await log.publish(b"key", b"value")
    assert asyncio.get_running_loop().time() - begun < 1.5


async def test_a_restart_keeps_log_and_records_and_gives_no_offset_twice(
    fragile: tuple[EventLog, EmbeddedStore],
) -> None:
    log, server = fragile
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


async def test_a_wiped_log_is_another_log_and_consumers_are_told(fragile: tuple[EventLog, EmbeddedStore]) -> None:
    log, server = fragile
    log_ids: asyncio.Queue[str] = asyncio.Queue()
    published, renewed = asyncio.Event(), asyncio.Event()
    consumer = log.consumer()

    async def on_revoked(partitions: Sequence[int]) -> None:
        await published.wait()
        if not renewed.is_set():  # a batch of the old log is finished: that trims nothing of the new one
            await consumer.commit(partitions[0], 50_000)

    await consumer.start(lambda log_id, partitions: log_ids.put_nowait(log_id), on_revoked)
    first = await asyncio.wait_for(log_ids.get(), 5)
    for _ in range(3):
        await log.publish(b"key", b"old")
    await server.kill()
    server.wipe()
    await server.start()
    position = await again(lambda: log.publish(b"key", b"new"))
    published.set()
    assert position.offset == 0
    assert await asyncio.wait_for(log_ids.get(), 10) == await again(log.log_id) != first
    renewed.set()
    await consumer.close()
    assert len(await again(lambda: everything(log))) == 1


Answer = TypeVar("Answer")


async def again(publish: Callable[[], Awaitable[Answer]]) -> Answer:
    async with asyncio.timeout(10):
        while True:
            try:
                return await publish()
            except LogUnavailable:
                await asyncio.sleep(0.05)
