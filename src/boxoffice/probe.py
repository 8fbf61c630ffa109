"""/livez, /readyz and /metrics of a process that serves no buyers, or not yet: a few lines of HTTP, GET only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from prometheus_client import generate_latest

READ_SECONDS = 5
MOST_BYTES = 8192
STALE_SECONDS = 30.0
"""A pod whose snapshot is older is not ready; a blip of Redis must not take every pod out at once."""


@dataclass(slots=True)
class Readiness:
    """What a process waits for, in one line; nothing when it is ready. `alive` is asked beside: whether what it is
    there for goes on at all."""

    waits_for: str = ""
    alive: Callable[[], bool] = lambda: True


@asynccontextmanager
async def serve_probes(host: str, port: int, readiness: Readiness) -> AsyncIterator[int]:
    """Answers while the block runs; gives the port. That it answers at all is a sign of life."""
    answer = partial(_answer, readiness)
    server = await asyncio.start_server(answer, host or None, port, limit=MOST_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _answer(readiness: Readiness, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(READ_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_response(readiness, *head.split(b" ", 2)[:2]))
            await writer.drain()
    except (OSError, TimeoutError, ValueError, EOFError, asyncio.LimitOverrunError):
        pass  # a caller that is gone, silent or not speaking HTTP
    finally:
        writer.close()


def _response(readiness: Readiness, method: bytes, target: bytes) -> bytes:
    status, body = b"404 Not Found", b"not found\n"
    if method not in (b"GET", b"HEAD"):
        status, body = b"405 Method Not Allowed", b"GET only\n"
    elif target == b"/livez" and not readiness.alive():
        status, body = b"503 Service Unavailable", b"stuck\n"
    elif target == b"/livez":
        status, body = b"200 OK", b"ok\n"
    elif target == b"/readyz" and readiness.waits_for:
        status, body = b"503 Service Unavailable", f"waiting: {readiness.waits_for}\n".encode()
    elif target == b"/readyz":
        status, body = b"200 OK", b"ok\n"
    elif target == b"/metrics":
        status, body = b"200 OK", generate_latest()
    head = b"HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n" % status
    length = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    return head + length + (b"" if method == b"HEAD" else body)
