"""A database behind a door of ours that lets every answer out late."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from boxoffice.embedded import Child
from boxoffice.local.mysql import SqlServer
from boxoffice.tasks import end

MOST_BYTES = 1 << 16
MOST_ON_THE_WAY = 256
"""Pieces of answers, for each connection; the server waits for the rest to be taken."""


class Slowly:
    """An engine of a night like the server itself; every answer is `delay` seconds late, whatever its length."""

    def __init__(self, server: SqlServer, delay: float = 0.0) -> None:
        self.server, self.delay = server, delay
        self._door: asyncio.Server | None = None
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def changes(self) -> dict[str, Any]:
        assert self._door, "it was not started"
        port = self._door.sockets[0].getsockname()[1]
        return {name: url.replace(f":{self.server.port}/", f":{port}/") for name, url in self.server.changes.items()}

    @property
    def children(self) -> Sequence[Child]:
        return self.server.children

    async def start(self) -> None:
        await self.server.start()
        self._door = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)

    async def stop(self) -> None:
        if self._door:
            self._door.close()
        await end(self._calls)
        await self.server.stop()

    async def kill(self) -> None:
        await self.server.kill()

    def wipe(self) -> None:
        self.server.wipe()

    def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.create_task(self._call(reader, writer))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind, to_behind = await asyncio.open_connection("127.0.0.1", self.server.port)
            try:
                await _until_one_ends(_copy(reader, to_behind), self._copy_late(behind, writer))
            finally:
                to_behind.close()
        except OSError:
            return  # nobody is there
        finally:
            writer.close()

    async def _copy_late(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each piece so many seconds after it came, also when many come together."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MOST_ON_THE_WAY)
        await _until_one_ends(self._take(reader, late), _let_out(late, writer))

    async def _take(self, reader: asyncio.StreamReader, late: asyncio.Queue[tuple[float, bytes]]) -> None:
        now = asyncio.get_running_loop().time
        while data := await reader.read(MOST_BYTES):
            await late.put((now() + self.delay, data))


async def _let_out(late: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    now = asyncio.get_running_loop().time
    while True:
        at, data = await late.get()
        await asyncio.sleep(max(0.0, at - now()))
        writer.write(data)
        await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(MOST_BYTES):
        writer.write(data)
        await writer.drain()


async def _until_one_ends(*directions: Coroutine[Any, Any, None]) -> None:
    """A broken connection ends it like one that was closed."""
    tasks = [asyncio.create_task(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)
