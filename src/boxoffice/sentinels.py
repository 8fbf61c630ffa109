"""Redis with Sentinel: the master is who the sentinels say it is.

They are asked every second, and the latest election counts. So a former master that still answers, because it was
cut off from them or stood still, is left as soon as one of them knows better.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from dataclasses import replace

from boxoffice.errors import StoreUnavailable
from boxoffice.node import RECONNECT_SECONDS, Node, ask_all
from boxoffice.pipe import Pipe, ReplyError
from boxoffice.storeurl import Access, Address, StoreUrl
from boxoffice.tasks import end

LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)


class Sentinels:
    def __init__(self, url: StoreUrl, scripts: Iterable[bytes], deadline_seconds: float) -> None:
        self._url, self._scripts, self._deadline = url, scripts, deadline_seconds
        self._node: Node | None = None
        self._pipes: dict[Address, Pipe] = {}
        self._looking = asyncio.Lock()
        self._not_before = 0.0
        self._watching: asyncio.Task[None] | None = None

    def live(self, key: str) -> Pipe | None:
        return self._node.live() if self._node is not None else None

    async def node(self, key: str) -> Node:
        if self._node is None or self._node.live() is None:
            await self._look()
        if self._node is None:
            raise StoreUnavailable(f"no sentinel names the master {self._url.master!r}")
        await self._node.connect()
        return self._node

    async def moved(self) -> None:
        if self._node is not None:
            await self._node.drop()

    async def close(self) -> None:
        if self._watching is not None:
            await end([self._watching])
        for pipe in self._pipes.values():
            await pipe.close()
        if self._node is not None:
            await self._node.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with contextlib.suppress(StoreUnavailable):  # then the master that we know is as good as any
                await self._look()

    async def _look(self) -> None:
        """Goes over to the present master; those who waited meanwhile take what was found. Raises StoreUnavailable."""
        loop = asyncio.get_running_loop()
        async with self._looking:
            if loop.time() < self._not_before:
                return
            try:
                _, address = max(await ask_all(map(self._ask, self._url.addresses)))
            finally:
                self._not_before = loop.time() + RECONNECT_SECONDS
            if self._node is None or self._node.address != address:
                await self._go_over_to(address)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    async def _go_over_to(self, address: Address) -> None:
        former, self._node = self._node, Node(address, self._url.access, self._scripts, self._deadline)
        if former is not None:
            log.warning("Redis' master is %s, no longer %s", address, former.address)
            await former.close()

    async def _ask(self, sentinel: Address) -> tuple[int, Address]:
        """The number of the election, and who won it. Raises StoreUnavailable."""
        pipe = self._pipes.get(sentinel)
        if pipe is None or pipe.closed.is_set():
            pipe = self._pipes[sentinel] = await self._connect(sentinel)
        try:
            flat = await pipe.send("SENTINEL", "MASTER", self._url.master)
        except ReplyError as error:
            raise StoreUnavailable(f"the sentinel at {sentinel} says: {error}") from None
        state = dict(zip(flat[::2], flat[1::2], strict=True))
        return int(state[b"config-epoch"]), Address(state[b"ip"].decode(), int(state[b"port"]))

    async def _connect(self, sentinel: Address) -> Pipe:
        """Sentinels have the password of the servers, or none."""
        access = replace(self._url.access, database=0)
        try:
            return await Pipe.connect(sentinel, access, self._deadline)
        except StoreUnavailable:
            if not access.password:
                raise
            return await Pipe.connect(sentinel, Access(tls=access.tls), self._deadline)
