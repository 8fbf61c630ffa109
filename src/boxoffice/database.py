"""The database under the ledger: one engine, transactions, and every fault of it as LedgerUnavailable."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    TimeoutError as PoolTimeout,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from boxoffice.errors import LedgerUnavailable

BUSY_SECONDS = 5
"""How long a writer waits for another one (SQLite has one writer at a time)."""

SWITCH_MS = 50


def connect(url: str, busy_seconds: int = BUSY_SECONDS) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=8, max_overflow=0, pool_timeout=BUSY_SECONDS)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine.sync_engine, "connect", partial(_set_up_sqlite, busy_seconds))
        sa.event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(busy_seconds: int, connection: Any, _: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see below
    cursor = connection.cursor()
    # Two that switch a new file at once wait for each other for ever. The mode stays with the file: whoever finds
    # it locked leaves it to the next connection.
    cursor.execute(f"PRAGMA busy_timeout={SWITCH_MS}")
    with suppress(sqlite3.OperationalError):
        cursor.execute("PRAGMA journal_mode=WAL")
    for pragma in (f"busy_timeout={busy_seconds * 1000}", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    """A writer takes the lock when it begins: one that asks for it later can only be refused."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def as_unavailable() -> Iterator[None]:
    """What a caller can do nothing about becomes LedgerUnavailable; a broken rule or statement does not."""
    try:
        yield
    except (IntegrityError, DataError, ProgrammingError):
        raise
    except (DBAPIError, PoolTimeout, OSError) as error:
        raise LedgerUnavailable(f"the database is out of reach: {str(error).splitlines()[0]}") from error


class Database:
    """Open with `open_ledger`. Every statement runs inside `reading` or `writing`."""

    def __init__(self, url: str) -> None:
        self._engine = connect(url)
        self._writer = self._engine.execution_options(writes=True)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view. Raises LedgerUnavailable."""
        with as_unavailable():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end. Raises LedgerUnavailable; the outcome is then unknown."""
        with as_unavailable():
            async with self._writer.begin() as connection:
                yield connection

    async def close(self) -> None:
        await self._engine.dispose()
