"""One Redis server: the connection to it that requests share, made anew when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

import redis.asyncio
from redis.exceptions import RedisError

from boxoffice.errors import StoreUnavailable
from boxoffice.pipe import Pipe, ReplyError
from boxoffice.storeurl import Access, Address

RECONNECT_SECONDS = 0.25
ASK_SECONDS = 1.0

T = TypeVar("T")

log = logging.getLogger(__name__)


class Node:
    def __init__(self, address: Address, access: Access, scripts: Iterable[bytes], deadline_seconds: float) -> None:
        """`scripts` are loaded into the server with each connection."""
        self.address = address
        self.pipe: Pipe | None = None
        self._access = access
        self._scripts = scripts
        self._deadline = deadline_seconds
        self._connecting = asyncio.Lock()
        self._not_before = 0.0
        self._warned = False

    def live(self) -> Pipe | None:
        pipe = self.pipe
        return pipe if pipe is not None and not pipe.closed.is_set() else None

    async def connect(self) -> Pipe:
        """The live connection; at most one attempt each RECONNECT_SECONDS. Raises StoreUnavailable."""
        async with self._connecting:
            if pipe := self.live():
                return pipe
            now = asyncio.get_running_loop().time()
            if now < self._not_before:
                raise StoreUnavailable("Redis is out of reach")
            self._not_before = now + RECONNECT_SECONDS
            pipe = await Pipe.connect(self.address, self._access, self._deadline)
            try:
                await self._prepare(pipe)
            except BaseException:
                await pipe.close()
                raise
            self.pipe = pipe
            return pipe

    async def _prepare(self, pipe: Pipe) -> None:
        if pipe.info[b"role"] != b"master":
            raise StoreUnavailable(f"Redis at {self.address} is a replica")
        if not self._warned:
            for warning in warnings(pipe.info):
                log.warning("Redis at %s: %s", self.address, warning)
            self._warned = True
        try:
            await asyncio.gather(*(pipe.send("SCRIPT", "LOAD", source) for source in self._scripts))
        except ReplyError as error:  # it reads its files, for instance
            raise StoreUnavailable(f"Redis at {self.address} does not serve now: {error}") from None

    @cached_property
    def client(self) -> redis.asyncio.Redis:
        """For scans, pipelines and reads that block: they need connections of their own."""
        access = self._access
        return redis.asyncio.Redis(
            host=self.address.host,
            port=self.address.port,
            db=access.database,
            username=access.user or None,
            password=access.password or None,
            ssl=access.tls is not None,
            ssl_ca_certs=access.ca_file or None,
            socket_connect_timeout=self._deadline,
        )

    async def drop(self) -> None:
        """Ends the connection; the next one asks anew who this server is."""
        if self.pipe is not None:
            await self.pipe.close()

    async def close(self) -> None:
        await self.drop()
        if "client" in self.__dict__:
            with contextlib.suppress(RedisError, OSError):  # who is frozen does not answer a goodbye by TLS
                await self.client.aclose()


def warnings(info: Mapping[bytes, bytes]) -> Iterator[str]:
    """In words."""
    return (text for _, text in faults(info))


def faults(info: Mapping[bytes, bytes]) -> Iterator[tuple[str, str]]:
    """What INFO shows to be kept worse than the store of a sale should be: which thing, and what is wrong with it.
    CONFIG is not for everybody."""
    if int(info[b"redis_version"].split(b".")[0]) < 7:
        yield "version", "it is older than 7: take Redis 7 or later, or Valkey"
    if info[b"maxmemory_policy"] != b"noeviction":
        yield "eviction", "it drops seats and places when memory is short: set maxmemory-policy noeviction"
    if info[b"aof_enabled"] != b"1":
        yield "persistence", "a restart forgets everything: set appendonly yes"
    replicas = int(info[b"connected_slaves"])
    if replicas and b"min_slaves_good_slaves" not in info and info[b"redis_mode"] != b"cluster":
        yield "replicas", "cut off from them it takes writes that a failover then forgets: set min-replicas-to-write 1"


async def ask_all(questions: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What several servers answer within ASK_SECONDS. Raises StoreUnavailable when none does."""
    tasks = [asyncio.create_task(question) for question in questions]
    done, late = await asyncio.wait(tasks, timeout=ASK_SECONDS)
    for task in late:
        task.cancel()
    faults = [fault for task in done if (fault := task.exception()) is not None]
    if len(faults) == len(done):
        raise StoreUnavailable(str(faults[0]) if faults else f"no answer in {ASK_SECONDS:.0f} s")
    return [task.result() for task in done if task.exception() is None]
