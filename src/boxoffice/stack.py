"""A whole box office on this machine: its engines, two `serve` as two pods, `admin` and `settle`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from boxoffice.embedded import Child, Stopped, answers
from boxoffice.engines import Engines, Server, embedded
from boxoffice.ports import free_ports
from boxoffice.settings import Settings

SERVE_PROCESSES = 2


class Stack:
    """Its processes run between `async with` and the end of the block; its data stays in `data_dir`."""

    def __init__(
        self,
        data_dir: Path,
        serve_processes: int = SERVE_PROCESSES,
        settle_processes: int = 1,
        ports: tuple[int, ...] = (),
        engines: Engines | None = None,
        **changes: Any,
    ) -> None:
        """`ports` are taken where they are free; without `engines` they are the embedded ones; `changes` are settings
        that differ from the default."""
        self.data_dir = data_dir
        self.changes = changes
        self.engines = engines or embedded(data_dir)
        self.admin_token = secrets.token_urlsafe(24)
        free = iter(free_ports(serve_processes + settle_processes + 1, preferred=ports))
        first, self.admin_port, settle = next(free), next(free), next(free)
        self.serve_ports = [first, *islice(free, serve_processes - 1)]
        self.settle_ports = [settle, *free]
        self.keys, self.place_key = f"k1:{secrets.token_hex(32)}", secrets.token_hex(32)
        self.children: list[Child] = []

    @property
    def store(self) -> Server:
        return self.engines.store

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.serve_ports]

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def settings(self, port: int = 0) -> Settings:
        """Only good once the engines have their ports."""
        folder = self.data_dir.resolve()
        settings = Settings(
            ledger_url=f"sqlite+aiosqlite:///{folder}/ledger.db",
            gateway_url=f"sqlite+aiosqlite:///{folder}/gateway.db",
            keys=self.keys,
            place_key=self.place_key,
            admin_token_sha256=hashlib.sha256(self.admin_token.encode()).hexdigest(),
            trusted_proxies="127.0.0.1/32",
            insecure_cookies=True,
            port=port or self.serve_ports[0],
            admin_port=self.admin_port,
            settle_port=port or self.settle_ports[0],
        )
        settings = replace(settings, **self.engines.changes | self.changes)
        return settings if settings.ledger_reader_url else replace(settings, ledger_reader_url=settings.ledger_url)

    @property
    def env_file(self) -> Path:
        """What a shell sources to steer this stack with `boxoffice`."""
        return self.data_dir.resolve() / "env"

    async def __aenter__(self) -> Stack:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start(self) -> None:
        await self.engines.start()
        self._write_env()
        await self._run_to_end("migrate")
        await asyncio.gather(
            *(self._start_child(f"serve-{port}", "serve", port) for port in self.serve_ports),
            self._start_child("admin", "admin", self.admin_port),
            *(self._start_child(name, "settle", port) for name, port in self._settles()),
        )

    def _write_env(self) -> None:
        self.env_file.touch(mode=0o600)
        self.env_file.write_text(exports(asdict(self.settings())))

    async def _run_to_end(self, command: str) -> None:
        child = self._child(command, command, self.settings())
        await child.start()
        if await child.wait():
            raise Stopped(f"boxoffice {command} failed:\n{child.last_lines()}")

    async def _start_child(self, name: str, command: str, port: int) -> None:
        child = self._child(name, command, self.settings(port))
        self.children.append(child)
        await _until_live(child)

    def _settles(self) -> list[tuple[str, int]]:
        return [("settle" if nth == 1 else f"settle-{nth}", port) for nth, port in enumerate(self.settle_ports, 1)]

    def child(self, name: str) -> Child:
        """`serve-<port>`, `admin`, `settle`, or another `settle-<nth>`."""
        return next(child for child in self.children if child.name == name)

    async def restart(self, name: str, failpoint: str = "") -> Child:
        """Starts a process again, to die at a failpoint if one is named."""
        child = self.child(name)
        await child.stop()
        assert child.env is not None
        child.env["BOXOFFICE_FAILPOINT"] = failpoint
        if failpoint.endswith(":stop"):
            await child.start()  # it may stand still before it could answer anybody
        else:
            await _until_live(child)
        return child

    def _child(self, name: str, command: str, settings: Settings) -> Child:
        argv = [sys.executable, "-m", "boxoffice", command]
        return Child(name, argv, self.data_dir / f"{name}.log", environment(settings))

    async def fallen(self) -> Child:
        """Returns the first process that ends; none should before `stop`."""
        children = [*self.children, *self.engines.children]
        waits = {asyncio.create_task(child.wait()): child for child in children}
        done, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        return waits[done.pop()]

    async def stop(self) -> None:
        """Ours first, then the engines that they need to end well."""
        await asyncio.gather(*(child.stop() for child in self.children))
        await self.engines.stop()


async def _until_live(child: Child) -> None:
    assert child.env is not None
    own_port = {"admin": "ADMIN_PORT", "settle": "SETTLE_PORT"}.get(child.name.partition("-")[0], "PORT")
    url = f"http://127.0.0.1:{child.env[f'BOXOFFICE_{own_port}']}/livez"
    await child.start(lambda: _serves(child, url))


async def _serves(child: Child, url: str) -> bool:
    """That it is this process that answers, not another one that was quicker to take the port."""
    return (child.name.startswith("settle") or child.said(b"Uvicorn running on")) and await answers(url)


def environment(settings: Settings) -> dict[str, str]:
    """These settings, and no other BOXOFFICE_* variable, for a child process."""
    others = {name: text for name, text in os.environ.items() if not name.startswith("BOXOFFICE_")}
    return others | own_environment(settings)


def own_environment(settings: Settings) -> dict[str, str]:
    return variables(asdict(settings))


def variables(changes: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables of some settings."""
    return {f"BOXOFFICE_{name.upper()}": str(value) for name, value in changes.items()}


def exports(changes: Mapping[str, Any]) -> str:
    """The same for a shell, a line each."""
    return "".join(f"export {name}={shlex.quote(text)}\n" for name, text in variables(changes).items())
