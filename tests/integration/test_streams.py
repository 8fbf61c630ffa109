"""What is particular to the log on Redis Streams: bounds, trimming, and a server that forgot its last second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from boxoffice import streams
from boxoffice.embedded import EmbeddedStore
from boxoffice.errors import LogUnavailable
from boxoffice.settings import Settings
from boxoffice.store import Store
from boxoffice.streams import RESTART_GAP, StreamsLog


async def test_a_full_log_takes_no_more(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_RECORDS", 5)
    log = await StreamsLog.open(replace(settings, log_partitions=1), store)
    for _ in range(5):
        await log.publish(b"key", b"value")
    with pytest.raises(LogUnavailable, match="full"):
        await log.publish(b"key", b"value")
    assert await log.ends() == [5]


async def test_trimming_leaves_what_is_not_settled(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEPT_RECORDS", 100)
    log = await StreamsLog.open(replace(settings, log_partitions=1), store)
    for _ in range(1000):
        await log.publish(b"key", b"value")
    await log.trim(await log.log_id(), 0, 100)
    assert await log.begins() == [0]
    await log.trim(await log.log_id(), 0, 900)
    [begin] = await log.begins()
    assert 0 < begin <= 800, "the last hundred settled ones stay"
    assert [r.offset for r in await log.read(0, 0, 1000)] == list(range(begin, 1000))
    assert await log.ends() == [1000]


async def test_a_log_keeps_the_partitions_that_it_was_made_with(settings: Settings, store: Store) -> None:
    await StreamsLog.open(replace(settings, log_partitions=3), store)
    again = await StreamsLog.open(replace(settings, log_partitions=8), store)
    assert again.partitions == 3
    assert len(await again.ends()) == 3


async def test_offsets_of_a_forgotten_second_are_not_given_again(
    tmp_path: Path, settings_for: Callable[[EmbeddedStore], Settings]
) -> None:
    """What the ledger has settled up to offset 4 must not hide a record that comes after the fault."""
    server = EmbeddedStore(tmp_path / "data")
    await server.start()
    store = await Store.open(settings_for(server))
    log = await StreamsLog.open(replace(settings_for(server), instance=store.instance), store)
    before = [await log.publish(b"key", b"value") for _ in range(5)]
    partition = before[0].partition
    await store.execute("DEL", log._key(partition), log._key("ends"))  # as if never written to the file
    await store.close()
    await server.stop()
    await server.start()
    store = await Store.open(replace(settings_for(server), instance=log.topic.removesuffix(".orders")))
    log = await StreamsLog.open(replace(settings_for(server), instance=store.instance), store)
    assert (await log.publish(b"key", b"value")).offset == RESTART_GAP
    assert (await log.publish(b"key", b"value")).offset == RESTART_GAP + 1
    await store.close()
    await server.stop()
