"""All that an instance keeps in Redis, to see that a refused request changed nothing."""

from __future__ import annotations

from typing import Any

from boxoffice.store import Store

TURNS_BY_ITSELF = {
    b"last_ms", b"carry", b"departures", b"departed_seen", b"pace", b"spread", b"stopped_ms", b"version", b"content"
}  # fmt: skip
"""Fields of a sale's record that each beat moves, requests or not."""


async def read_keys(store: Store) -> dict[bytes, Any]:
    """Every key but the limiters': to count a request is what they are for."""
    pattern = f"*{store.instance}*"
    client = await store.client(store.instance)
    keys = [key async for key in client.scan_iter(match=pattern, count=1000) if b":limit:" not in key]
    return {key: await _read(store, key) for key in sorted(keys)}


async def _read(store: Store, key: bytes) -> Any:
    kind = await store.execute("TYPE", key)
    if kind == b"hash":
        flat = await store.execute("HGETALL", key)
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        return {name: value for name, value in fields.items() if name not in TURNS_BY_ITSELF}
    commands: dict[bytes, tuple[str, ...]] = {
        b"string": ("GET",),
        b"set": ("SMEMBERS",),
        b"zset": ("ZRANGE", "0", "-1", "WITHSCORES"),
        b"list": ("LRANGE", "0", "-1"),
        b"stream": ("XRANGE", "-", "+"),
    }
    command, *rest = commands[kind]
    value = await store.execute(command, key, *rest)
    return sorted(value) if kind == b"set" else value
