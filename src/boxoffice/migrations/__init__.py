"""The ledger's schema, one revision a step forward and back. `migrate` brings a database up to the newest.

A release only expands it (tables, indexes, columns with a default), so that the release before can still write;
what nothing uses any more a later release takes away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from boxoffice.database import as_unavailable, connect
from boxoffice.errors import Conflict, LedgerUnavailable
from boxoffice.sale import to_ms
from boxoffice.salerecords import now_ms
from boxoffice.settings import Settings
from boxoffice.spec import Spec
from boxoffice.tables import owners, sales

LOCK_SECONDS = 60

logger = logging.getLogger(__name__)

_Step = Callable[[Config, str], None]
_THE_ONE = 1
_LOCK = "CONCAT('boxoffice.migrate.', LEFT(SHA2(DATABASE(), 256), 32))"


async def migrate(settings: Settings, revision: str = "head", online: bool = True) -> None:
    """Up to `revision`. Many may start at once: one migrates, the others wait and find it done. A ledger that a newer
    release has migrated stays as it is. Raises Conflict (sale_open) when there is something to do while a sale is
    open and not `online`, or (another_instance) when the database is another instance's; LedgerUnavailable.

    SQLite: the whole of it is one transaction that holds the writers' lock from its beginning.
    """
    await _run(settings, command.upgrade, revision, online)


async def downgrade(settings: Settings, revision: str) -> None:
    """Down to `revision`, with what the older tables can hold."""
    await _run(settings, command.downgrade, revision, True)


async def _run(settings: Settings, step: _Step, revision: str, online: bool) -> None:
    engine = connect(settings.ledger_url, settings.ledger_ca_file, pool=1, busy_seconds=LOCK_SECONDS)
    try:
        with as_unavailable():
            async with engine.execution_options(writes=True).begin() as connection:
                await connection.run_sync(_locked, step, revision, online, settings.instance)
    finally:
        await engine.dispose()


def _locked(connection: sa.Connection, step: _Step, revision: str, online: bool, instance: str) -> None:
    config = _config(connection)
    with _lock(connection):
        _check_owner(connection, instance)
        found = _revision(connection)
        if step is command.upgrade and _is_newer(found, ScriptDirectory.from_config(config)):
            logger.warning("the ledger is at revision %s, of a newer release: it stays as it is", found)
            return
        if not online and (names := _open_sales(connection, config)):
            raise Conflict(f"{', '.join(names)}: open now; migrate later, or with --online", code="sale_open")
        step(config, revision)
        if _owner(connection) == "":
            connection.execute(sa.insert(owners), [{"only_one": _THE_ONE, "instance": instance}])


def _check_owner(connection: sa.Connection, instance: str) -> None:
    if (owner := _owner(connection)) and owner != instance:
        raise Conflict(
            f"this database is the ledger of the instance {owner!r}, not of {instance!r}: give each one of its own",
            code="another_instance",
        )


def _owner(connection: sa.Connection) -> str | None:
    """None where that is not kept yet, nothing where nobody came so far."""
    if not sa.inspect(connection).has_table(owners.name):
        return None
    found: str | None = connection.scalar(sa.select(owners.c.instance))
    return found or ""


def _config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _lock(connection: sa.Connection) -> Iterator[None]:
    if connection.dialect.name == "sqlite":
        yield  # the transaction is the lock
        return
    if connection.scalar(sa.text(f"SELECT GET_LOCK({_LOCK}, {LOCK_SECONDS})")) != 1:
        raise LedgerUnavailable(f"another one is migrating for more than {LOCK_SECONDS} s")
    yield
    connection.execute(sa.text(f"DO RELEASE_LOCK({_LOCK})"))  # ends with the connection in any case


async def check_tables(settings: Settings) -> None:
    """Raises LedgerUnavailable when the ledger lacks a revision that this release needs, Conflict (another_instance)
    when it is not ours."""
    engine = connect(settings.ledger_url, settings.ledger_ca_file, pool=1)
    try:
        with as_unavailable():
            async with engine.connect() as connection:
                await connection.run_sync(_check, settings.instance)
    finally:
        await engine.dispose()


def _check(connection: sa.Connection, instance: str) -> None:
    _check_owner(connection, instance)
    found, scripts = _revision(connection), ScriptDirectory.from_config(_config(connection))
    head = scripts.get_current_head()
    if found != head and not _is_newer(found, scripts):
        raise LedgerUnavailable(f"the ledger is at revision {found or 'none'}, not {head}: `boxoffice migrate`")


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def _is_newer(revision: str | None, scripts: ScriptDirectory) -> bool:
    """Whether it is none that this release knows: releases only expand, so we can work with it."""
    return revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}


def _open_sales(connection: sa.Connection, config: Config) -> list[str]:
    """Those that selling is under way in; none when there is nothing to do, or nothing yet."""
    now_at = _revision(connection)
    if now_at in (None, ScriptDirectory.from_config(config).get_current_head()):
        return []
    statement = sa.select(sales.c.name, sales.c.spec).where(
        sales.c.opened_ms.is_not(None), sales.c.dropped_ms.is_(None)
    )
    rows = connection.execute(statement.order_by(sales.c.name))
    return [name for name, spec in rows if to_ms(msgspec.json.decode(spec, type=Spec).closes_time) > now_ms()]
