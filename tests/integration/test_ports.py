"""Free ports: processes that start servers at once never have the same."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from boxoffice import ports
from boxoffice.errors import Unavailable
from boxoffice.ports import BLOCK, free_ports

PROCESSES, DRAWN = 6, 150
DRAW = f"from boxoffice.ports import free_ports; print(free_ports({DRAWN}), flush=True); input()"


def test_they_differ_and_take_the_preferred_where_possible() -> None:
    (wish,) = free_ports(1)
    found = free_ports(4, preferred=[wish])
    assert found[0] == wish
    assert len(set(found)) == 4


def test_one_that_is_in_use_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert port not in free_ports(2, preferred=[port])


def test_what_was_given_comes_again_last() -> None:
    drawn = [port for _ in range(3) for port in free_ports(30)]
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= {port for _ in range(BLOCK) for port in free_ports(1)}


async def test_processes_have_ports_of_their_own() -> None:
    """All of them alive, and nobody listening yet."""
    pipe = asyncio.subprocess.PIPE
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", DRAW, stdin=pipe, stdout=pipe)
        for _ in range(PROCESSES)
    ]
    drawn: list[int] = []
    for process in started:
        assert process.stdout
        drawn += map(int, (await process.stdout.readline()).strip(b"[]\n").split(b","))
    for process in started:
        await process.communicate(b"\n")
    assert len(drawn) == len(set(drawn)) == PROCESSES * DRAWN


def test_that_none_is_left_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_is_free", lambda port: False)
    with pytest.raises(Unavailable, match="too many are in use"):
        free_ports(1)
