"""The engines under a stack on this machine: what all servers have in common, and which ones go together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from boxoffice.embedded import Child, EmbeddedStore
from boxoffice.local.kafka import LocalKafka
from boxoffice.local.mysql import LocalMySql
from boxoffice.local.redis import LocalRedis


class Server(Protocol):
    """One engine: a process or several, their ports and data the same at every start."""

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that lead to it; only good once it was started."""

    @property
    def children(self) -> Sequence[Child]:
        """Its processes; none before the first start."""

    async def start(self) -> None:
        """Returns when it serves."""

    async def stop(self) -> None: ...

    async def kill(self) -> None:
        """`kill -9`, as a crash would."""

    def wipe(self) -> None:
        """Forgets everything; only while it is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """`log` and `ledger` are None where the store and a file do for them."""

    names: str
    """What they are called together, for people."""
    store: Server
    log: Server | None = None
    ledger: Server | None = None

    @property
    def servers(self) -> list[Server]:
        return [server for server in (self.store, self.log, self.ledger) if server]

    @property
    def changes(self) -> dict[str, Any]:
        return {name: value for server in self.servers for name, value in server.changes.items()}

    @property
    def children(self) -> list[Child]:
        return [child for server in self.servers for child in server.children]

    async def start(self) -> None:
        await all_started(self.servers)

    async def stop(self) -> None:
        await all_stopped(self.servers)


async def all_started(servers: Sequence[Server]) -> None:
    """At the same time; raises the first fault when none is starting any more, so that all can be stopped."""
    results = await asyncio.gather(*(server.start() for server in servers), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def all_stopped(servers: Sequence[Server]) -> None:
    await asyncio.gather(*(server.stop() for server in servers))


def embedded(data_dir: Path) -> Engines:
    """Nothing to install: a Valkey, its streams as the log, and SQLite as the ledger."""
    return Engines(names="a store", store=EmbeddedStore(data_dir / "valkey"))


def production(data_dir: Path) -> Engines:
    """Redis, Kafka and MySQL, as `make servers` fetched them."""
    return Engines(
        names="Redis, Kafka, MySQL",
        store=LocalRedis(data_dir / "redis"),
        log=LocalKafka(data_dir / "kafka"),
        ledger=LocalMySql(data_dir / "mysql"),
    )


class Kind(StrEnum):
    embedded = "embedded"
    production = "production"


KINDS: dict[Kind, Callable[[Path], Engines]] = {Kind.embedded: embedded, Kind.production: production}
