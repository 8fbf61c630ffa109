"""Servers by hand: the settings that are printed lead to them, and none outlives the command."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.processes import left_behind

Start = Callable[..., Coroutine[Any, Any, Process]]


@pytest.fixture
async def boxoffice() -> AsyncIterator[Start]:
    """Starts a command; `settings` come on top of the environment. What still runs in the end is stopped."""
    async with AsyncExitStack() as stack:

        async def start(*words: str | Path, **settings: str) -> Process:
            command = (sys.executable, "-m", "boxoffice", *map(str, words))
            process = await asyncio.create_subprocess_exec(
                *command, env=os.environ | settings, stdout=PIPE, stderr=PIPE
            )
            stack.push_async_callback(_end, process)
            return process

        yield start


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.communicate()


async def _up(process: Process) -> str:
    """What it said until all its servers were up."""
    assert process.stderr
    async with asyncio.timeout(90):
        return (await process.stderr.readuntil(b"Ctrl-C ends it.\n")).decode()


async def _exports(process: Process, count: int) -> dict[str, str]:
    assert process.stdout
    lines = [shlex.split((await process.stdout.readline()).decode()) for _ in range(count)]
    assert all(word == "export" for word, _ in lines)
    return dict(setting.split("=", 1) for _, setting in lines)


async def test_leads_to_its_servers_until_it_is_told_to_stop(boxoffice: Start, tmp_path: Path) -> None:
    data_dir = tmp_path / "servers"
    engines = await boxoffice("engines", "redis", "mariadb", "--data-dir", data_dir)
    await _up(engines)
    settings = await _exports(engines, 3)
    assert settings.keys() == {"BOXOFFICE_STORE_URL", "BOXOFFICE_LEDGER_URL", "BOXOFFICE_LEDGER_READER_URL"}

    out, said = await (await boxoffice("migrate", **settings)).communicate()
    assert out == b"the ledger and the log are ready\n", said.decode()
    names = " ".join(left_behind(data_dir).values())
    assert "redis-server" in names
    assert "mariadbd" in names

    engines.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        assert await engines.communicate() == (b"", b"")
    assert engines.returncode == 0
    assert left_behind(data_dir) == {}


def entries(folder: Path) -> list[str]:
    return os.listdir(folder)


async def test_ctrl_c_takes_the_temporary_folder_with_it(boxoffice: Start, tmp_path: Path) -> None:
    engines = await boxoffice("engines", "valkey", TMPDIR=str(tmp_path))
    (folder,) = re.findall(r"starting valkey in (\S+)", await _up(engines))
    assert entries(tmp_path) == [Path(folder).name]
    engines.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        await engines.communicate()
    assert engines.returncode == 0
    assert entries(tmp_path) == []


async def test_a_server_that_was_killed_is_reported_and_the_others_stay(boxoffice: Start, tmp_path: Path) -> None:
    engines = await boxoffice("engines", "sentinel", "--data-dir", tmp_path / "servers")
    await _up(engines)
    assert engines.stderr
    victim = next(pid for pid, command in left_behind(tmp_path).items() if "[sentinel]" in command)
    os.kill(victim, signal.SIGKILL)
    async with asyncio.timeout(60):
        assert b" ended with -9; its log is " in await engines.stderr.readline()
    assert len(left_behind(tmp_path)) == 6  # five servers and the command itself


@pytest.mark.parametrize(
    "words", ["engines mysql", "engines kafka", "demo --engines production --buyers 20 --seats 10"]
)
async def test_says_how_to_get_what_is_not_installed(boxoffice: Start, tmp_path: Path, words: str) -> None:
    """Nor is Redis found on PATH, or Java."""
    refused = await boxoffice(*words.split(), BOXOFFICE_CACHE=str(tmp_path), PATH=str(tmp_path))
    _, err = await refused.communicate()
    assert refused.returncode == 1
    last = err.decode().splitlines()[-1]
    assert re.fullmatch(r"boxoffice: (MySQL|Java|Redis) is not installed here: make servers", last), last
