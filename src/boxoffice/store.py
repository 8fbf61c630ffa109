"""Redis: where the line, the holds and the orders in flight live, one Lua call a step.

All keys of a sale carry one hash tag, `{instance:sale}`, so a sale lives on one node. A script gets the name of
the sale's record as KEYS[1] and the run_id of the very connection that carries it as ARGV[1]; a server whose
run_id is not the one in the record has lost its memory, and the script changes nothing (see recovery.py).
"""

from __future__ import annotations

import asyncio
import hashlib
from importlib import resources
from typing import Any

import redis.asyncio

from boxoffice.errors import NotFound, Recovering, StoreUnavailable
from boxoffice.pipe import Pipe, ReplyError
from boxoffice.settings import Settings

RECONNECT_SECONDS = 0.25

Argument = str | bytes | int | float


def load_scripts() -> dict[str, bytes]:
    """Name to source of every script in `lua/`; the guard stands in front of each."""
    folder = resources.files("boxoffice") / "lua"
    sources = {f.name.removesuffix(".lua"): f.read_bytes() for f in folder.iterdir() if f.name.endswith(".lua")}
    guard = sources.pop("guard")
    return {name: source if b"-- unguarded" in source else guard + source for name, source in sources.items()}


class Store:
    """Calls scripts and plain commands on one shared connection, and reconnects by itself."""

    def __init__(self, settings: Settings) -> None:
        self.instance = settings.instance
        self.redis: redis.asyncio.Redis = redis.asyncio.Redis.from_url(settings.store_url)
        self._url = settings.store_url
        self._deadline = settings.store_deadline_seconds
        self._scripts = load_scripts()
        self._digests = {name: hashlib.sha1(source).hexdigest() for name, source in self._scripts.items()}
        self._pipe: Pipe | None = None
        self._connecting = asyncio.Lock()
        self._not_before = 0.0

    @classmethod
    async def open(cls, settings: Settings) -> Store:
        """Raises StoreUnavailable when Redis is out of reach."""
        store = cls(settings)
        try:
            await store.connect()
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def run_id(self) -> bytes:
        """Of the server that the present connection leads to; empty when there is none."""
        return self._pipe.run_id if self._pipe is not None and not self._pipe.closed.is_set() else b""

    def key(self, sale: str, name: str) -> str:
        return f"{{{self.instance}:{sale}}}:{name}"

    def key_bytes(self, sale: str, name: bytes) -> bytes:
        """A key whose name is not text, such as one that ends in a place."""
        return self.key(sale, "").encode() + name

    async def flushed(self) -> bool:
        """Whether all that was written is on a replica, or, without one, on disk; waits a second at most."""
        info: bytes = await self.execute("INFO", "replication")
        fields = dict(part.split(b":", 1) for part in info.splitlines() if b":" in part)
        async with self.redis.pipeline(transaction=False) as pipe:
            # WAIT speaks of the writes of its own connection; this one lies behind all that came before.
            pipe.set(f"{self.instance}:flushed", 1)
            if int(fields.get(b"connected_slaves", 0)):
                pipe.execute_command("WAIT", 1, 1000)
                return bool((await pipe.execute())[1])
            pipe.execute_command("WAITAOF", 1, 0, 1000)
            return bool((await pipe.execute())[1][0])

    async def connect(self) -> Pipe:
        """The live connection, made anew when it is gone; at most one attempt each RECONNECT_SECONDS."""
        if self._pipe is not None and not self._pipe.closed.is_set():
            return self._pipe
        async with self._connecting:
            if self._pipe is not None and not self._pipe.closed.is_set():
                return self._pipe
            now = asyncio.get_running_loop().time()
            if now < self._not_before:
                raise StoreUnavailable("Redis is out of reach")
            self._not_before = now + RECONNECT_SECONDS
            pipe = await Pipe.connect(self._url, self._deadline)
            await asyncio.gather(*(pipe.send("SCRIPT", "LOAD", source) for source in self._scripts.values()))
            self._pipe = pipe
            return pipe

    async def call(self, script: str, sale: str, *args: Argument) -> list[Any]:
        """Runs one script on one sale. Raises Recovering, NotFound (no such sale), StoreUnavailable."""
        pipe = self._pipe
        if pipe is None or pipe.closed.is_set():
            pipe = await self.connect()
        key = f"{{{self.instance}:{sale}}}:sale"
        try:
            reply: list[Any] = await pipe.send("EVALSHA", self._digests[script], 1, key, pipe.run_id, *args)
        except ReplyError as error:
            reply = await self._refused(error, pipe, script, key, args)
        code = reply[0]
        if code == b"recovering":
            raise Recovering("the sale is being restored after a fault; nothing was changed")
        if code == b"missing":
            raise NotFound(f"there is no sale named {sale!r}", code="unknown_sale")
        return reply

    async def _refused(
        self, error: ReplyError, pipe: Pipe, script: str, key: str, args: tuple[Argument, ...]
    ) -> list[Any]:
        """NOSCRIPT (someone flushed the scripts) is mended here; everything else means: try again later."""
        if str(error).startswith("NOSCRIPT"):
            reply: list[Any] = await pipe.send("EVAL", self._scripts[script], 1, key, pipe.run_id, *args)
            return reply
        if str(error).startswith(("LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "BUSY", "OOM", "MISCONF")):
            raise StoreUnavailable(f"Redis cannot take writes now: {error}") from None
        raise error

    async def execute(self, *command: Argument) -> Any:
        """One plain command that does not block. Raises StoreUnavailable, ReplyError."""
        pipe = self._pipe
        if pipe is None or pipe.closed.is_set():
            pipe = await self.connect()
        return await pipe.send(*command)

    async def close(self) -> None:
        if self._pipe is not None:
            await self._pipe.close()
        await self.redis.aclose()
