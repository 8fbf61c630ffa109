"""Our own processes, started by a test with its settings."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from boxoffice.embedded import Child
from boxoffice.settings import Settings


@asynccontextmanager
async def settle_process(settings: Settings, folder: Path, failpoint: str = "") -> AsyncIterator[Child]:
    """`boxoffice settle`, ended by SIGTERM when the block is left."""
    env = {
        **os.environ,
        **{f"BOXOFFICE_{name.upper()}": str(value) for name, value in asdict(settings).items()},
        "BOXOFFICE_FAILPOINT": failpoint,
    }
    child = Child("settle", [sys.executable, "-m", "boxoffice", "settle"], folder / "settle.log", env)
    await child.start()
    try:
        yield child
    finally:
        await child.stop()


def left_behind(data_dir: Path) -> dict[int, str]:
    """Process ids and command lines of who works for this directory: by argument, setting, or (Redis) from inside."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            inside = (process / "cwd").readlink().is_relative_to(data_dir)
        except OSError:
            continue
        if (inside or str(data_dir).encode() in command + environment) and int(process.name) != os.getpid():
            found[int(process.name)] = command.replace(b"\0", b" ").decode()
    return found
