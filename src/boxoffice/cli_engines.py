"""`boxoffice engines`: the servers that production has, by hand on this machine."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from boxoffice.console import examples, run
from boxoffice.embedded import Child, EmbeddedStore, data_folder
from boxoffice.engines import Server, all_started, all_stopped
from boxoffice.errors import BadInput
from boxoffice.local.kafka import LocalKafka
from boxoffice.local.mysql import LocalMariaDb, LocalMySql
from boxoffice.local.redis import LocalCluster, LocalRedis, LocalSentinel
from boxoffice.stack import exports

app = typer.Typer(rich_markup_mode=None)


class Engine(StrEnum):
    kafka = "kafka"
    mysql = "mysql"
    mariadb = "mariadb"
    redis = "redis"
    sentinel = "sentinel"
    cluster = "cluster"
    valkey = "valkey"


SERVERS: dict[Engine, Callable[[Path], Server]] = {
    Engine.kafka: LocalKafka,
    Engine.mysql: LocalMySql,
    Engine.mariadb: LocalMariaDb,
    Engine.redis: LocalRedis,
    Engine.sentinel: LocalSentinel,
    Engine.cluster: LocalCluster,
    Engine.valkey: EmbeddedStore,
}


@app.command(
    epilog=examples(
        "boxoffice engines kafka mysql redis",
        "boxoffice engines sentinel mariadb --data-dir servers > env    # then, in another shell: . ./env",
        "boxoffice engines cluster",
    )
)
def engines(
    names: Annotated[list[Engine], typer.Argument(help="One for each of store, log and ledger at most.")],
    data_dir: Annotated[Path | None, typer.Option(help="Keep data and logs in this (empty) directory.")] = None,
) -> None:
    """Starts servers on this machine and prints the settings that lead to them.

    Stays until Ctrl-C (or SIGTERM), then stops them all; without a directory given, their data is gone with them.
    """
    run(_serve(names, data_dir))


async def _serve(names: Sequence[Engine], data_dir: Path | None) -> None:
    _check(names)
    folder = data_folder("boxoffice-engines-", data_dir)
    servers = [SERVERS[name](folder / name) for name in names]
    enough = _signals()
    try:
        _note(f"starting {', '.join(names)} in {folder}")
        await all_started(servers)
        for server in servers:
            typer.echo(exports(server.changes), nl=False)
        _note("Ctrl-C ends it.")
        await _stay([child for server in servers for child in server.children], enough)
    finally:
        await all_stopped(servers)
        if data_dir is None:
            shutil.rmtree(folder)


def _check(names: Sequence[Engine]) -> None:
    """Raises BadInput when two would be the same part of a box office: the exports of one would hide the other's."""
    taken: dict[str, Engine] = {}
    for name in names:
        for setting in SERVERS[name](Path()).changes:
            other = taken.setdefault(setting, name)
            if other is not name or names.count(name) > 1:
                raise BadInput(f"{other} and {name} both would be BOXOFFICE_{setting.upper()}: leave one out")


def _signals() -> asyncio.Event:
    """Set by Ctrl-C or SIGTERM; what is starting then starts to its end, to be stopped in order."""
    enough = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, enough.set)
    return enough


async def _stay(children: Sequence[Child], enough: asyncio.Event) -> None:
    """One that ends may have been ended on purpose, to see what happens: it is said, and the others stay."""
    waits = [asyncio.create_task(_report_end(child)) for child in children]
    await enough.wait()
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def _report_end(child: Child) -> None:
    code = await child.wait()
    _note(f"{child.name} ended with {code}; its log is {child.log}")


def _note(line: str) -> None:
    """Beside the settings, which alone are on stdout."""
    typer.echo(line, err=True)
