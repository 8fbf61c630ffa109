"""A settle process answers its probes, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from boxoffice import settlement
from boxoffice.probe import Readiness, serve_probes


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /livez HTTP/1.1", b"200 OK"),
        (b"HEAD /livez HTTP/1.1", b"200 OK"),
        (b"GET /readyz HTTP/1.1", b"200 OK"),
        (b"GET /metrics HTTP/1.0", b"200 OK"),
        (b"GET / HTTP/1.1", b"404 Not Found"),
        (b"POST /livez HTTP/1.1", b"405 Method Not Allowed"),
    ],
)
async def test_answers(request_line: bytes, status: bytes) -> None:
    async with serve_probes("127.0.0.1", 0, Readiness()) as port:
        answer = await ask(port, request_line + b"\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("garbage", [b"\r\n\r\n", b"\xff\r\n\r\n", b"GET\r\n\r\n", b"x" * 20_000])
async def test_garbage_ends_that_connection_only(garbage: bytes) -> None:
    async with serve_probes("127.0.0.1", 0, Readiness()) as port:
        try:
            answer = await ask(port, garbage)
        except ConnectionError:
            answer = b""
        assert b"200" not in answer
        assert (await ask(port, b"GET /livez HTTP/1.1\r\n\r\n")).endswith(b"ok\n")


async def test_what_is_waited_for_is_said() -> None:
    readiness = Readiness("Redis is out of reach")
    async with serve_probes("127.0.0.1", 0, readiness) as port:
        answer = await ask(port, b"GET /readyz HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b"\r\n\r\nwaiting: Redis is out of reach\n")
        assert b"200 OK" in await ask(port, b"GET /livez HTTP/1.1\r\n\r\n")
        readiness.waits_for = ""
        assert b"200 OK" in await ask(port, b"GET /readyz HTTP/1.1\r\n\r\n")


async def test_metrics_of_settlement_are_there() -> None:
    settlement.LAG.labels("0").set(3)
    async with serve_probes("127.0.0.1", 0, Readiness()) as port:
        answer = (await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")).decode()
    settlement.LAG.remove("0")
    names = ("lag", "orders", "batch_seconds", "busy_seconds", "dead_letters", "faults")
    assert all(f"# HELP boxoffice_settle_{name}" in answer for name in names)
    assert all(f"# HELP boxoffice_ledger_pool_{name}" in answer for name in ("in_use", "size"))
    assert 'boxoffice_settle_lag{partition="0"} 3.0' in answer
