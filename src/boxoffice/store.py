"""Redis: where the line, the holds and the orders in flight live, one Lua call a step.

All keys of a sale carry one hash tag, `{instance:sale}`, so a sale lives on one node. A script gets the name of
the sale's record as KEYS[1] and the run_id of the very connection that carries it as ARGV[1]; a server whose
run_id is not the one in the record has lost its memory, and the script changes nothing (see recovery.py).
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Any

import redis.asyncio
from redis.exceptions import ResponseError

from boxoffice import tracing
from boxoffice.errors import NotFound, Recovering, StoreUnavailable
from boxoffice.pipe import Pipe, ReplyError, fields_of
from boxoffice.settings import Settings
from boxoffice.topology import topology_of

ELSEWHERE = ("MOVED", "READONLY")
"""The server is no longer the one that has the key; it changed nothing."""
NOT_NOW = (
    *ELSEWHERE,
    *("LOADING", "MASTERDOWN", "NOREPLICAS", "BUSY", "OOM", "MISCONF", "CLUSTERDOWN", "ASK", "TRYAGAIN"),
    "ERR Script attempted to access a non local key",  # its slot is on the move between two servers
)

SCAN_CHUNK = 500
"""Keys that the server looks at in one go, while others wait."""

Argument = str | bytes | int | float


def load_scripts() -> dict[str, bytes]:
    """Name to source of every script in `lua/`; the arithmetic and the guard stand in front of each."""
    folder = resources.files("boxoffice") / "lua"
    sources = {f.name.removesuffix(".lua"): f.read_bytes() for f in folder.iterdir() if f.name.endswith(".lua")}
    guard = sources.pop("pace") + sources.pop("guard")
    return {name: source if b"-- unguarded" in source else guard + source for name, source in sources.items()}


class Store:
    """Calls scripts and plain commands on one shared connection a server, and reconnects by itself."""

    def __init__(self, settings: Settings) -> None:
        """Raises BadInput."""
        self.instance = settings.instance
        self._names = f"{settings.instance}:sales"
        self._scripts = load_scripts()
        self._digests = {name: hashlib.sha1(source).hexdigest() for name, source in self._scripts.items()}
        self._topology = topology_of(settings, self._scripts.values())
        self._live = self._topology.live

    @classmethod
    async def open(cls, settings: Settings) -> Store:
        """Raises BadInput, StoreUnavailable when Redis is out of reach."""
        store = cls(settings)
        try:
            await store.connect(store._names)
        except BaseException:
            await store.close()
            raise
        return store

    def key(self, sale: str, name: str) -> str:
        return f"{{{self.instance}:{sale}}}:{name}"

    def key_bytes(self, sale: str, name: bytes) -> bytes:
        """A key whose name is not text, such as one that ends in a place."""
        return self.key(sale, "").encode() + name

    async def connect(self, key: str) -> Pipe:
        """The live connection to the server that has a key. Raises StoreUnavailable."""
        if (pipe := self._live(key)) is not None:
            return pipe
        return await (await self._topology.node(key)).connect()

    async def keys(self, sale: str, prefix: str) -> set[bytes]:
        """Of a sale, all whose names begin so; what comes or goes meanwhile may be missed. Raises StoreUnavailable."""
        start = self.key(sale, prefix)
        pipe, found, cursor = await self.connect(start), set[bytes](), b"0"
        while True:
            cursor, some = await _sent(pipe, "SCAN", cursor, "MATCH", _literal(start) + "*", "COUNT", SCAN_CHUNK)
            found.update(some)
            if cursor == b"0":
                return found

    async def names(self) -> set[str]:
        """Of the sales that pods are to serve. Raises StoreUnavailable."""
        return {name.decode() for name in await self.execute("SMEMBERS", self._names)}

    async def add_name(self, sale: str) -> None:
        await self.execute("SADD", self._names, sale)

    async def remove_name(self, sale: str) -> None:
        await self.execute("SREM", self._names, sale)

    async def client(self, key: str) -> redis.asyncio.Redis:
        """For what needs a connection of its own, on the server that has a key now: ask each time."""
        return (await self._topology.node(key)).client

    async def now_ms(self, sale: str) -> int:
        """The time of the server that has a sale, or would have it. Raises StoreUnavailable."""
        seconds, micros = await _sent(await self.connect(self.key(sale, "sale")), "TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def flushed(self, sale: str) -> bool:
        """Whether all that was written of a sale is on a replica, or, without one, on disk; waits a second at most.

        False too where nothing is known: Redis 7.0 cannot say what is on disk, and a server that has taken the place
        of the one that was written to cannot say what that one had.
        """
        pipe = await self.connect(record := self.key(sale, "sale"))
        replicas = int(fields_of(await pipe.send("INFO", "replication"))[b"connected_slaves"])
        async with (await self.client(record)).pipeline(transaction=False) as batch:
            # WAIT speaks of the writes of its own connection; this one lies behind all that came before.
            batch.set(self.key(sale, "flushed"), 1)
            batch.hget(record, "run_id")
            batch.info("server")
            batch.execute_command(*(("WAIT", 1, 1000) if replicas else ("WAITAOF", 1, 0, 1000)))
            try:
                _, run_id, server, copies = await batch.execute()
            except ResponseError:
                return False
        return run_id == server["run_id"].encode() and bool(copies if replicas else copies[0])

    async def call(self, script: str, sale: str, *args: Argument) -> list[Any]:
        """Runs one script on one sale. Raises Recovering, NotFound (no such sale), StoreUnavailable."""
        if tracing.current() is None:
            return await self._call(script, sale, *args)
        with tracing.step(f"redis {script}", "client"):
            return await self._call(script, sale, *args)

    async def _call(self, script: str, sale: str, *args: Argument) -> list[Any]:
        key = f"{{{self.instance}:{sale}}}:sale"
        pipe = self._live(key)
        if pipe is None:
            pipe = await self.connect(key)
        try:
            reply: list[Any] = await pipe.send("EVALSHA", self._digests[script], 1, key, pipe.run_id, *args)
        except ReplyError as error:
            pipe = await self._after(error, pipe, key)
            reply = await _sent(pipe, "EVAL", self._scripts[script], 1, key, pipe.run_id, *args)
        code = reply[0]
        if code == b"recovering":
            raise Recovering("the sale is being restored after a fault; nothing was changed")
        if code == b"missing":
            raise NotFound(f"there is no sale named {sale!r}", code="unknown_sale")
        return reply

    async def execute(self, name: str, key: str | bytes, *args: Argument) -> Any:
        """One plain command that does not block, where its key is. Raises StoreUnavailable, ReplyError."""
        where = key if isinstance(key, str) else key.decode(errors="replace")
        pipe = await self.connect(where)
        try:
            return await pipe.send(name, key, *args)
        except ReplyError as error:
            return await _sent(await self._after(error, pipe, where), name, key, *args)

    async def _after(self, error: ReplyError, pipe: Pipe, key: str) -> Pipe:
        """Where to send again what a server refused. Raises StoreUnavailable, or the error when it is our own."""
        word = str(error).split(" ", 1)[0]
        if word == "NOSCRIPT":  # someone flushed the scripts
            return pipe
        if word in ELSEWHERE:
            await self._topology.moved()
            return await self.connect(key)
        raise _unavailable(error)

    async def close(self) -> None:
        await self._topology.close()


async def _sent(pipe: Pipe, *command: Argument) -> Any:
    try:
        return await pipe.send(*command)
    except ReplyError as error:
        raise _unavailable(error) from None


def _literal(text: str) -> str:
    """A glob that matches just this."""
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in text)


def _unavailable(error: ReplyError) -> Exception:
    """A server that cannot serve now is no error of ours: try again later."""
    if str(error).startswith(NOT_NOW):
        return StoreUnavailable(f"Redis cannot take writes now: {error}")
    return error
