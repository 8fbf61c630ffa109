"""The event log on Redis Streams: the embedded default, for one machine and no server to install.

Every key lies under one hash tag: `meta` (the log's id, its number of partitions, the life of the
server that made it), `ends` (the next offset
of each partition), one stream a partition whose entry `<offset + 1>-0` is a record, the consumers' leases, and
`order-events`, a stream for third parties.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any

import msgspec
import redis.asyncio
from redis.exceptions import RedisError

from boxoffice.errors import LogUnavailable, StoreUnavailable, told
from boxoffice.eventlog import REBALANCES, Assigned, Headers, Position, Record, Revoked, published
from boxoffice.pipe import ReplyError
from boxoffice.settings import Settings
from boxoffice.store import Store
from boxoffice.tasks import end

MOST_RECORDS = 1_000_000
"""A partition that holds more refuses to take another: whoever pays then hears `pending`."""

KEPT_RECORDS = 10_000
"""Settled records that stay, for the audit and for a ledger restored from an older copy."""

KEPT_NOTICES = 100_000
"""Of those for third parties, about so many."""

RESTART_GAP = 1_000_000
"""Offsets left out after a restart: more than a server can take in the second it may forget."""

MOST_WAIT_SECONDS = 2.0
"""Less than redis-py waits for any answer (5 s) before it takes the connection for dead."""

BEAT_SECONDS = 0.5
SILENT_SECONDS = 2.0
"""A consumer not heard of for so long has lost its partitions."""

_CHUNK = 500
_decode_headers = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode

logger = logging.getLogger(__name__)


@contextmanager
def _as_log_unavailable() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, StoreUnavailable) as error:
        raise LogUnavailable(f"the event log is out of reach: {told(error)}") from error


class StreamsLog:
    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._prefix = f"{{{settings.instance}:log}}:"
        self.topic = f"{settings.instance}.orders"
        self.partitions = settings.log_partitions
        self._append = _source("log_append")
        self._append_digest = hashlib.sha1(self._append).hexdigest()
        self._lease, self._release, self._trim = (_source(f"log_{name}") for name in ("lease", "release", "trim"))

    @classmethod
    async def open(cls, settings: Settings, store: Store) -> StreamsLog:
        log = cls(store, settings)
        await log.log_id()
        return log

    def _key(self, name: str | int) -> str:
        return f"{self._prefix}{name}"

    async def log_id(self) -> str:
        """Makes the log when there is none; how many partitions it has is settled then, and last."""
        meta = self._key("meta")
        with _as_log_unavailable():
            pipe = await self._store.connect(self._prefix)
            *_, found = await asyncio.gather(
                pipe.send("HSETNX", meta, "run", pipe.run_id),
                pipe.send("HSETNX", meta, "id", secrets.token_hex(16)),
                pipe.send("HSETNX", meta, "partitions", self._settings.log_partitions),
                pipe.send("HMGET", meta, "id", "partitions"),
            )
        self.partitions = int(found[1])
        return bytes(found[0]).decode()

    async def publish(self, key: bytes, value: bytes, headers: Headers = ()) -> Position:
        marks = msgspec.msgpack.encode(headers) if headers else b""
        with published(), _as_log_unavailable():
            async with asyncio.timeout(self._settings.publish_seconds):
                reply = await self._append_once(key, value, marks)
                if reply[0] == b"closed":
                    await self.log_id()
                    reply = await self._append_once(key, value, marks)
        if reply[0] != b"ok":
            raise LogUnavailable("the event log is full: settlement has fallen too far behind")
        return Position(reply[1], reply[2])

    async def _append_once(self, key: bytes, value: bytes, marks: bytes) -> list[Any]:
        """On the shared connection: a payment that is cancelled costs no connection, many share a write."""
        pipe = await self._store.connect(self._prefix)
        args = (3, self._key("meta"), self._key("ends"), self._prefix, zlib.crc32(key), key, value)
        bounds = (MOST_RECORDS, RESTART_GAP, pipe.run_id, marks)
        try:
            reply: list[Any] = await pipe.send("EVALSHA", self._append_digest, *args, *bounds)
        except ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise LogUnavailable(f"the event log takes no records now: {error}") from None
            reply = await pipe.send("EVAL", self._append, *args, *bounds)
        return reply

    async def announce(self, notices: Sequence[tuple[bytes, bytes]]) -> None:
        stream, most = self._key("order-events"), ("MAXLEN", "~", KEPT_NOTICES)
        with _as_log_unavailable():
            async with asyncio.timeout(self._settings.publish_seconds):
                pipe = await self._store.connect(self._prefix)
                sent = (pipe.send("XADD", stream, *most, "*", "k", key, "v", value) for key, value in notices)
                await asyncio.gather(*sent)

    async def keep(self, seconds: int) -> None:
        """Nothing goes by time: records stay until they are settled, and `KEPT_RECORDS` of them after that."""

    async def begins(self) -> list[int]:
        ends = await self.ends()
        with _as_log_unavailable():
            async with (await self._client()).pipeline(transaction=False) as pipe:
                for partition in range(self.partitions):
                    pipe.xrange(self._key(partition), count=1)
                firsts = await pipe.execute()
        return [_offset(first[0][0]) if first else end for first, end in zip(firsts, ends, strict=True)]

    async def ends(self) -> list[int]:
        names = [str(partition) for partition in range(self.partitions)]
        with _as_log_unavailable():
            found = await (await self._client()).hmget(self._key("ends"), names)
        return [int(end or 0) for end in found]

    async def scan(self, partition: int, start: int, stop: int) -> AsyncIterator[list[Record]]:
        while start < stop:
            records = [r for r in await self.read(partition, start, _CHUNK) if r.offset < stop]
            if not records:
                return
            yield records
            start = records[-1].offset + 1

    async def read(self, partition: int, start: int, limit: int) -> list[Record]:
        with _as_log_unavailable():
            client = await self._client()
            entries: Any = await client.xrange(self._key(partition), f"{start + 1}-0", count=limit)
        return [_record(partition, entry, fields) for entry, fields in entries]

    async def wait_for(self, partition: int, start: int, seconds: float) -> None:
        """Blocks on a connection of its own until there is a record at `start` or later."""
        with _as_log_unavailable():
            client = await self._client()
            block_ms = max(1, int(min(seconds, MOST_WAIT_SECONDS) * 1000))
            await client.xread({self._key(partition): f"{start}-0"}, count=1, block=block_ms)

    async def lease(self, member: str) -> tuple[str, int, set[int]]:
        """A heartbeat. Returns the log's id, how many partitions to give up, and those that are ours."""
        keys = (self._key("meta"), self._key("members"), self._key("leases"))
        reply = await self._run(self._lease, keys, member, int(SILENT_SECONDS * 1000))
        if reply[0] == b"closed":
            await self.log_id()
            return await self.lease(member)
        return reply[1].decode(), reply[2], set(reply[3:])

    async def release(self, member: str, partitions: Sequence[int] = ()) -> None:
        await self._run(self._release, (self._key("members"), self._key("leases")), member, *partitions)

    async def trim(self, log_id: str, partition: int, settled: int) -> None:
        if settled > KEPT_RECORDS:
            keys = (self._key("meta"), self._key(partition))
            await self._run(self._trim, keys, log_id, settled - KEPT_RECORDS)

    async def _run(self, script: bytes, keys: Sequence[str], *args: str | int) -> Any:
        with _as_log_unavailable():
            answer: Any = (await self._client()).eval(script.decode(), len(keys), *keys, *args)
            return await answer

    async def _client(self) -> redis.asyncio.Redis:
        """Asked each time: the server that has the log may be another one after a failover."""
        return await self._store.client(self._prefix)

    def consumer(self) -> StreamsConsumer:
        return StreamsConsumer(self)

    async def close(self) -> None:
        """The connections belong to the store."""


class StreamsConsumer:
    """Holds leases on partitions by a heartbeat; the ledger's fence, not the lease, is what keeps order."""

    def __init__(self, log: StreamsLog) -> None:
        self._log = log
        self._member = secrets.token_hex(8)
        self._log_id = ""
        self._next: dict[int, int] = {}
        self._owned: set[int] = set()
        self._giving: dict[int, asyncio.Task[None]] = {}

    async def start(self, on_assigned: Assigned, on_revoked: Revoked) -> None:
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._beating = asyncio.create_task(self._beat_forever())

    async def _beat_forever(self) -> None:
        while True:
            try:
                await self._beat()
            except LogUnavailable as error:
                logger.warning("no heartbeat: %s", error.detail)
            await asyncio.sleep(BEAT_SECONDS)

    async def _beat(self) -> None:
        self._raise_failed()
        log_id, surplus, leased = await self._log.lease(self._member)
        if log_id != self._log_id and self._owned:
            return self._give_up(self._owned)
        self._log_id = log_id
        self._give_up(self._owned - leased)
        kept = leased - self._giving.keys()
        gained = sorted(kept - self._owned)
        self._owned |= kept
        if gained:
            REBALANCES.inc()
            self._on_assigned(log_id, gained)
        surplus -= len(leased) - len(kept)
        self._give_up(set(sorted(kept)[len(kept) - max(0, surplus) :]))

    def _give_up(self, partitions: set[int]) -> None:
        for partition in partitions - self._giving.keys():
            self._giving[partition] = asyncio.create_task(self._give_back(partition))

    async def _give_back(self, partition: int) -> None:
        await self._on_revoked([partition])
        self._owned.discard(partition)
        self._next.pop(partition, None)
        try:
            await self._log.release(self._member, [partition])
        except LogUnavailable as error:
            logger.warning("partition %d not given back, its lease will lapse: %s", partition, error.detail)

    def _raise_failed(self) -> None:
        for partition in [p for p, task in self._giving.items() if task.done()]:
            self._giving.pop(partition).result()

    def seek(self, partition: int, offset: int) -> None:
        self._next[partition] = offset

    async def fetch(self, partition: int, limit: int, wait_seconds: float) -> list[Record]:
        self.check()
        start = self._next[partition]
        records = await self._log.read(partition, start, limit)
        if not records and wait_seconds > 0:
            await self._log.wait_for(partition, start, wait_seconds)
            records = await self._log.read(partition, start, limit)
        if records:
            self._next[partition] = records[-1].offset + 1
        return records

    async def commit(self, partition: int, offset: int) -> None:
        await self._log.trim(self._log_id, partition, offset)

    def check(self) -> None:
        self._raise_failed()
        if self._beating.done():
            self._beating.result()

    async def close(self) -> None:
        await end([self._beating])
        self._give_up(set(self._owned))
        await asyncio.gather(*self._giving.values())
        try:
            await self._log.release(self._member)
        except LogUnavailable as error:
            logger.warning("left without saying so: %s", error.detail)
        if not self._beating.cancelled():
            self._beating.result()


def _source(script: str) -> bytes:
    return (resources.files("boxoffice") / f"lua/{script}.lua").read_bytes()


def _record(partition: int, entry: bytes, fields: dict[bytes, bytes]) -> Record:
    headers = _decode_headers(fields[b"h"]) if b"h" in fields else ()
    return Record(partition, _offset(entry), fields[b"k"], fields[b"v"], int(fields[b"t"]), headers)


def _offset(entry: bytes) -> int:
    return int(entry.split(b"-")[0]) - 1
