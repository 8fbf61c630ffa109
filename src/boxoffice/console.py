"""What the commands share: errors on one line, tables, JSON, and the clients that a command needs."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import msgspec
import typer

from boxoffice.errors import BoxofficeError
from boxoffice.logs import give_up

if TYPE_CHECKING:  # `kubectl sale` starts without them
    from boxoffice.board import Board
    from boxoffice.ledger import Ledger
    from boxoffice.settings import Settings
    from boxoffice.store import Store

T = TypeVar("T")


class Format(StrEnum):
    json = "json"


Json = Annotated[Format | None, typer.Option("-o", "--output", help="For scripts.")]
Who = Annotated[str, typer.Option("--who", help="Who does it.", default_factory=getpass.getuser, show_default="you")]
Why = Annotated[str, typer.Option("--why", help="The reason; it is kept.")]


def examples(*lines: str) -> str:
    """An epilog that is shown as it is written."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def run_program(app: typer.Typer, name: str) -> NoReturn:
    """Errors are one line on stderr: exit code 2 for a command that cannot be understood, else 1."""
    try:
        sys.exit(app(standalone_mode=False, prog_name=name))
    except BoxofficeError as error:
        give_up(name, error.detail, 1)
    except OSError as error:
        give_up(name, str(error), 1)
    except typer.Abort:  # Ctrl-C, or a question that was not answered with yes
        give_up(name, "stopped", 1)
    except Exception as error:
        if not hasattr(error, "format_message"):  # Typer's own errors; their class moves between its versions
            raise
        if not error.args or not str(error.args[0]).startswith("Usage:"):
            give_up(name, " ".join(error.format_message().split()), 2)  # a list of choices comes a line each
        typer.echo(error.format_message(), err=True)  # a command that was called with nothing shows its help
        sys.exit(2)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


@dataclass(slots=True)
class Office:
    """What a command works on: the store, the ledger, and the sales as of one beat."""

    settings: Settings
    store: Store
    ledger: Ledger
    board: Board


@asynccontextmanager
async def open_office(reading: bool = False) -> AsyncIterator[Office]:
    """`reading`: the ledger as the user who may only do that. Raises StoreUnavailable."""
    from boxoffice.board import Board
    from boxoffice.ledger import open_ledger
    from boxoffice.settings import Settings
    from boxoffice.store import Store

    settings = Settings.from_env()
    async with AsyncExitStack() as stack:
        store = await Store.open(settings)
        stack.push_async_callback(store.close)
        ledger = await open_ledger(settings, reading)
        stack.push_async_callback(ledger.close)
        board = Board(store)
        await board.beat()
        yield Office(settings, store, ledger, board)


def print_json(value: Any) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns as wide as they must be; numbers to the right."""
    texts = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    right = [all(isinstance(row[i], int) for row in rows) for i in range(len(header))]
    for row in texts:
        cells = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
        typer.echo("   ".join(cells).rstrip())
