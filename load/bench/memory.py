"""How many bytes of Redis a waiting buyer takes: a Valkey of its own, filled through the real join script."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from boxoffice.embedded import EmbeddedStore
from boxoffice.settings import Settings
from boxoffice.store import Store
from figures import Memory
from scene import AT_ONCE, LINE_SALE, address, each, put_on_sale, spec

ADDRESSES = 64
"""Few, so that the limits of addresses, which expire within a minute, do not count as buyers."""


async def measure(folder: Path, waiting: int, joined: Callable[[int], None]) -> Memory:
    """`joined` is told of every so many who joined."""
    server = EmbeddedStore(folder)
    await server.start()
    try:
        store = await Store.open(Settings(store_url=server.url))
        try:
            return await _fill(store, waiting, joined)
        finally:
            await store.close()
    finally:
        await server.stop()


async def _fill(store: Store, waiting: int, joined: Callable[[int], None]) -> Memory:
    await store.execute("CONFIG", "SET", "appendonly", "no")  # its buffers are no buyers either
    await put_on_sale(store, LINE_SALE, spec(per_minute=600))
    before = await _used(store)
    for start in range(0, waiting, AT_ONCE):
        await each(lambda i: _join(store, i), range(start, min(start + AT_ONCE, waiting)))
        joined(min(AT_ONCE, waiting - start))
    return Memory(waiting=waiting, bytes_per_buyer=round((await _used(store) - before) / waiting, 1))


async def _join(store: Store, index: int) -> None:
    reply = await store.call("join", LINE_SALE, secrets.token_bytes(16), address(index % ADDRESSES), "")
    assert reply[0] == b"ok", reply


async def _used(store: Store) -> int:
    info: bytes = await store.execute("INFO", "memory")
    fields = dict(part.split(b":", 1) for part in info.splitlines() if b":" in part)
    return int(fields[b"used_memory"])
