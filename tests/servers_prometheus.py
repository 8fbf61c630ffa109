"""For the tests: something for a Prometheus to scrape, and somebody for it to tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from boxoffice.local.alertmanager import LocalAlertmanager

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n\r\n"


class Exporter:
    """Serves what `page` gives; `port` once it is open."""

    def __init__(self, page: Callable[[], str]) -> None:
        self.page = page
        self.port = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Exporter]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + self.page().encode())
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def running_alertmanager(folder: Path, config: Path) -> AsyncIterator[LocalAlertmanager]:
    server = LocalAlertmanager(folder, config)
    await server.start()
    yield server
    await server.stop()
