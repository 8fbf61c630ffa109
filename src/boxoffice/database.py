"""The database under the ledger: one engine, transactions, and every fault of it as LedgerUnavailable.

MySQL, MariaDB or SQLite; what is peculiar to a driver stays in here.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache, partial
from typing import Any

import aiomysql  # type: ignore[import-untyped]
import sqlalchemy as sa
from prometheus_client import Counter, Histogram
from pymysql.constants import CLIENT, CR, ER  # type: ignore[import-untyped]
from pymysql.converters import escape_bytes  # type: ignore[import-untyped]
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    TimeoutError as PoolTimeout,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from boxoffice.errors import BadInput, LedgerBusy, LedgerUnavailable

BUSY_SECONDS = 5
"""How long a writer waits for another one: for SQLite's one lock, for a row of MySQL, for a free connection."""

CONNECT_SECONDS = 5
GOODBYE_SECONDS = 1.0
DEADLINE_SECONDS = 20.0
"""For a transaction as a whole: a server that hangs answers nothing, and says nothing of it either."""

IDLE_SECONDS = 15
"""After so long the server ends a connection, with all its locks, whose client vanished or stands still."""

SWITCH_MS = 50

_BUSY = {ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK, ER.CHECKREAD}
_ELSEWHERE = {ER.OPTION_PREVENTS_STATEMENT, ER.SERVER_SHUTDOWN, 1836}  # 1836: read-only mode
"""What a server says that is no longer the one to write to: connect anew, wherever the address leads now."""

_NOT_YET = {ER.NO_SUCH_TABLE, ER.BAD_DB_ERROR}
"""`migrate` has not been here; on SQLite that is an OperationalError anyway."""


TRANSACTION_SECONDS = Histogram(
    "boxoffice_ledger_transaction_seconds",
    "Seconds of a transaction on the ledger, waiting for a connection included",
    ["kind"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
READ, WRITE = TRANSACTION_SECONDS.labels("read"), TRANSACTION_SECONDS.labels("write")
ERRORS = Counter(
    "boxoffice_ledger_errors", "Transactions given up: others in the way (busy), or no answer (unreachable)", ["error"]
)
BUSY, UNREACHABLE = ERRORS.labels("busy"), ERRORS.labels("unreachable")


def connect(url: str, ca_file: str = "", pool: int = 8, busy_seconds: int = BUSY_SECONDS) -> AsyncEngine:
    """Opens no connection yet. With `ca_file` none that is not TLS (`system`: the system's authorities vouch)."""
    address = sa.make_url(url)
    # What is written must not be told by a fault: it is logged.
    shared: dict[str, Any] = {
        "hide_parameters": True,
        "pool_size": pool,
        "max_overflow": 0,
        "pool_timeout": BUSY_SECONDS,
    }
    if address.get_backend_name() == "sqlite":
        return _connect_sqlite(address, shared, busy_seconds)
    return _connect_mysql(address, shared, busy_seconds, ca_file)


def _connect_mysql(address: sa.URL, shared: dict[str, Any], busy_seconds: int, ca_file: str) -> AsyncEngine:
    session = f"wait_timeout={IDLE_SECONDS}, innodb_lock_wait_timeout={busy_seconds}, lock_wait_timeout={busy_seconds}"
    arguments: dict[str, Any] = {
        "async_creator_fn": _open,
        "connect_timeout": CONNECT_SECONDS,
        # Without a strict mode the server cuts what does not fit, and says so in a warning.
        "init_command": f"SET SESSION sql_mode='TRADITIONAL', {session}",
    }
    if ca_file:
        arguments["ssl"] = _tls(ca_file)
    engine = create_async_engine(
        address, isolation_level="READ COMMITTED", pool_pre_ping=True, connect_args=arguments, **shared
    )
    sa.event.listen(engine.sync_engine, "handle_error", _drop_a_reader)
    return engine


def _tls(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file == "system" else ca_file)
    except (OSError, ssl.SSLError) as error:
        raise BadInput(f"BOXOFFICE_LEDGER_CA_FILE: {ca_file} cannot be used: {error}") from None


class _Connection(aiomysql.Connection):  # type: ignore[misc]
    """The driver's own, but where TLS is asked for it signs in by TLS or not at all."""

    async def _get_server_information(self) -> None:
        await super()._get_server_information()
        if self._ssl_context and not self.server_capabilities & CLIENT.SSL:
            raise aiomysql.OperationalError(CR.CR_SSL_CONNECTION_ERROR, "the server offers no TLS")

    async def ensure_closed(self) -> None:
        """Returns when the socket is closed: by TLS both sides say goodbye first, and the driver does not wait."""
        writer = self._writer
        await super().ensure_closed()
        if writer is None:
            return
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()

    def cursor(self, *kinds: Any) -> Any:
        return super().cursor(_Cursor)

    def escape(self, value: Any) -> str:
        """Many times an order, so the frequent kinds come first, and text that needs no escaping."""
        if type(value) is str:
            return f"'{value}'" if value.isalnum() else f"'{self.escape_string(value)}'"
        if type(value) is int:
            return str(value)
        # aiomysql 0.3.2 escapes bytes with a function that PyMySQL 1.2 no longer has.
        return str(escape_bytes(value) if isinstance(value, bytes) else super().escape(value))


class _Cursor(aiomysql.Cursor):  # type: ignore[misc]
    """The driver's own, but it writes a row of a multi-row insert in one go: 37 values an order."""

    async def _show_warnings(self, conn: aiomysql.Connection) -> None: ...

    async def _do_execute_many(
        self, prefix: str, values: str, postfix: str, args: Iterable[Any], max_stmt_length: int, encoding: str
    ) -> int:
        done, size, rows = 0, 0, list[bytes]()
        for arg in args:
            row = self._row(values, arg).encode(encoding, "surrogateescape")
            if rows and size + len(row) > max_stmt_length:
                done += await self._insert(prefix, rows, postfix, encoding)
                size, rows = 0, []
            size += len(row) + 1
            rows.append(row)
        self._rowcount = done + await self._insert(prefix, rows, postfix, encoding)
        return self._rowcount

    async def _insert(self, prefix: str, rows: list[bytes], postfix: str, encoding: str) -> int:
        inserted: int = await self.execute(prefix.encode(encoding) + b",".join(rows) + postfix.encode(encoding))
        return inserted

    def _row(self, values: str, row: Any) -> str:
        """Between quotes only a quote and a backslash mean something: a row without any needs no escaping."""
        template = _template(values, tuple(map(type, row))) if isinstance(row, tuple) else ""
        text: str = template % row if template else ""
        if text and text.count("'") == template.count("'") and "\\" not in text:
            return text
        return str(values % self._escape_args(row, self._get_db()))


_LITERALS = {str: "'%s'", int: "%s", type(None): "NULL%.0s"}


@lru_cache(maxsize=64)
def _template(values: str, kinds: tuple[type, ...]) -> str:
    """For rows of these kinds of values; empty when there are others among them."""
    if not all(kind in _LITERALS for kind in kinds):
        return ""
    places = iter(kinds)
    return re.sub("%s", lambda _: _LITERALS[next(places)], values)


async def _open(**arguments: Any) -> _Connection:
    connection = _Connection(**arguments)
    await connection._connect()
    return connection


def _drop_a_reader(context: sa.ExceptionContext) -> None:
    if _code(context.original_exception) in _ELSEWHERE:
        context.is_disconnect = True


def _connect_sqlite(address: sa.URL, shared: dict[str, Any], busy_seconds: int) -> AsyncEngine:
    engine = create_async_engine(address, **shared)
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
    except (IntegrityError, DataError):
        raise
    except (DBAPIError, PoolTimeout, OSError) as error:
        if isinstance(error, ProgrammingError) and _code(error.orig or error) not in _NOT_YET:
            raise
        busy = _is_busy(error)
        (BUSY if busy else UNREACHABLE).inc()
        fault = LedgerBusy if busy else LedgerUnavailable
        raise fault(f"the database is out of reach: {_in_words(error)}") from error


def _is_busy(error: Exception) -> bool:
    """Whether others were in the way: the transaction was rolled back and may be repeated at once."""
    original = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(original, sqlite3.OperationalError):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    return original is not None and _code(original) in _BUSY


def _code(error: BaseException) -> int | None:
    return error.args[0] if error.args and isinstance(error.args[0], int) else None


def _in_words(error: Exception) -> str:
    """With what the driver keeps to itself: why it cannot connect, a certificate for instance."""
    reason = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig else None
    return ": ".join(str(e).splitlines()[0] for e in (error, reason) if str(e or "")) or "no answer in time"


class Database:
    """Every statement runs inside `reading` or `writing`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A statement sees all that was committed before it. Raises LedgerUnavailable."""
        with READ.time(), as_unavailable():
            async with asyncio.timeout(DEADLINE_SECONDS), self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end. Raises LedgerBusy: nothing was written; LedgerUnavailable: the
        outcome is unknown."""
        with WRITE.time(), as_unavailable():
            async with asyncio.timeout(DEADLINE_SECONDS), self._writer.begin() as connection:
                yield connection

    def connections(self) -> tuple[int, int]:
        """In use, and at most."""
        pool = self._engine.pool
        assert isinstance(pool, sa.QueuePool)
        return pool.checkedout(), pool.size()

    async def close(self) -> None:
        await self._engine.dispose()
