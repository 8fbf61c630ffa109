"""A set of engines with one app process on it: the embedded default, or those of production on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

from boxoffice.embedded import Child, EmbeddedStore, answers
from boxoffice.eventlog import prepare_log
from boxoffice.local.kafka import LocalKafka
from boxoffice.local.redis import LocalRedis
from boxoffice.settings import Settings
from boxoffice.stack import environment
from boxoffice.store import Store
from loads import Load, Plan, prepare


class Server(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class House:
    """One app process, its engines and what the crowd will ask of it."""

    def __init__(self, engines: str, folder: Path, port: int) -> None:
        self.engines, self.port, self.pid = engines, port, 0
        self.loads: dict[str, Load] = {}
        self._folder = folder
        self._redis = EmbeddedStore(folder / "valkey") if engines == "embedded" else LocalRedis(folder / "redis")
        self._kafka = LocalKafka(folder / "kafka") if engines == "production" else None

    @property
    def settings(self) -> Settings:
        """Only good once the servers run."""
        changes: dict[str, Any] = self._kafka.changes if self._kafka else {}
        return Settings(
            store_url=self._redis.url,
            keys="bench:" + "5a" * 32,
            place_key="a5" * 32,
            trusted_proxies="127.0.0.1/32",
            insecure_cookies=True,
            port=self.port,
            **changes,
        )

    async def open(self, stack: AsyncExitStack, plan: Plan, advance: Callable[[], None]) -> None:
        """Starts all of it, and lets buyers in; `advance` is told four times."""
        servers: list[Server] = [self._redis, *([self._kafka] if self._kafka else [])]
        self._folder.mkdir()
        for server in servers:
            stack.push_async_callback(server.stop)
            await server.start()
        await self._prepare(plan, advance)
        argv = [sys.executable, "-m", "boxoffice", "serve"]
        self.pid = await start(stack, self._folder, self.port, "/readyz", self.settings, *argv)

    async def _prepare(self, plan: Plan, advance: Callable[[], None]) -> None:
        store = await Store.open(self.settings)
        try:
            await store.execute("CONFIG", "SET", "appendfsync", "everysec")  # what is measured is not the disk
            await prepare_log(self.settings, store)
            self.loads = await prepare(store, self.settings, plan, advance)
        finally:
            await store.close()


async def start(
    stack: AsyncExitStack, folder: Path, port: int, path: str, settings: Settings, *argv: str | Path
) -> int:
    """A server process that answers on that path; gives its pid."""
    child = Child(f"server-{port}", argv, folder / f"{port}.log", environment(settings))
    stack.push_async_callback(child.stop)
    await child.start(lambda: answers(f"http://127.0.0.1:{port}{path}"))
    return child.pid
