"""A server keeps so many connections and no more, and stays alive while it is full."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest_asyncio

from boxoffice.embedded import Child
from boxoffice.ports import free_ports

MOST = 5
SERVER = """
import sys
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from boxoffice.server import run_server
from boxoffice.settings import Settings

async def hello(request):
    return PlainTextResponse("hello")

app = Starlette(routes=[Route("/{any}", hello)])
run_server(app, Settings(max_connections=int(sys.argv[2])), int(sys.argv[1]), leave=lambda: None)
"""


@pytest_asyncio.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    [port] = free_ports(1)
    child = Child("server", [sys.executable, "-c", SERVER, str(port), str(MOST)], tmp_path / "log", os.environ)

    async def answers() -> bool:
        try:
            return (await ask(port, "/livez")).status_code == 200
        except httpx2.TransportError:
            return False

    await child.start(answers)
    yield port
    await child.stop()


async def ask(port: int, path: str) -> httpx2.Response:
    """On a connection of its own."""
    async with httpx2.AsyncClient() as client:
        return await client.get(f"http://127.0.0.1:{port}{path}")


async def test_one_more_is_told_so_and_those_before_are_served(port: int) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST)]
    refused = await ask(port, "/hello")
    assert (refused.status_code, refused.json()["code"]) == (503, "pod_full")
    assert refused.headers["retry-after"] == "2"
    assert refused.headers["connection"] == "close"
    reader, writer = idle[0]
    writer.write(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    for _, writer in idle:
        writer.close()
        await writer.wait_closed()


async def test_a_full_server_is_alive_and_not_ready(port: int) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST)]
    assert (await ask(port, "/livez")).status_code == 200
    assert (await ask(port, "/readyz")).status_code == 503
    for _, writer in idle:
        writer.close()
        await writer.wait_closed()


async def test_there_is_room_again_when_one_has_gone(port: int) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST)]
    assert (await ask(port, "/hello")).status_code == 503
    for _, writer in idle:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(60):
        while (await ask(port, "/hello")).status_code != 200:
            await asyncio.sleep(0.01)
