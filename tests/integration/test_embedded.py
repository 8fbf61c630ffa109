"""The embedded store keeps what it was told through `kill -9`, and nothing outlives its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from boxoffice.embedded import Child, EmbeddedStore, Stopped, k6_binary, shipped


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "valkey")
    await store.start()
    yield store
    await store.stop()


async def test_is_configured_as_a_production_store_should_be(store: EmbeddedStore) -> None:
    async with Redis.from_url(store.url) as redis:
        config = await redis.config_get("appendonly", "appendfsync", "maxmemory-policy", "save", "bind")
    assert config == {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "save": "",
        "bind": "127.0.0.1",
    }


async def test_keeps_its_data_and_its_port_through_a_crash(store: EmbeddedStore) -> None:
    async with Redis.from_url(store.url) as redis:
        await redis.set("place", "17")
        run_id = (await redis.info("server"))["run_id"]
    before = store.url
    await store.kill()
    await store.start()
    async with Redis.from_url(store.url) as redis:
        assert store.url == before
        assert await redis.get("place") == b"17"
        assert (await redis.info("server"))["run_id"] != run_id


async def test_forgets_all_when_wiped(store: EmbeddedStore) -> None:
    async with Redis.from_url(store.url) as redis:
        await redis.set("place", "17")
    await store.kill()
    store.wipe()
    await store.start()
    async with Redis.from_url(store.url) as redis:
        assert await redis.get("place") is None


async def test_a_start_that_fails_says_why(tmp_path: Path, store: EmbeddedStore) -> None:
    with pytest.raises(Stopped, match="Address already in use"):
        await EmbeddedStore(tmp_path / "second", store.port).start()


async def test_children_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout
    child = os.pidfd_open(int(await parent.stdout.readline()))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(child, ended.set)
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(60):
        await ended.wait()
    asyncio.get_running_loop().remove_reader(child)
    os.close(child)


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    child = Child("stubborn", [sys.executable, "-c", STUBBORN], tmp_path / "log")
    await child.start(lambda: says(child, "ready"))
    assert await child.stop(seconds=0.1) == -signal.SIGKILL


async def says(child: Child, word: str) -> bool:
    return word in child.last_lines()


def test_finds_what_is_shipped() -> None:
    assert os.access(k6_binary(), os.X_OK)
    assert shipped("manifests", "concertsale-demo.yaml").is_file()
    assert shipped("load", "onsale.js").is_file()


STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""

PARENT = """
import asyncio, pathlib, sys
from boxoffice.embedded import EmbeddedStore

async def main():
    store = EmbeddedStore(pathlib.Path(sys.argv[1]))
    await store.start()
    print(store.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
