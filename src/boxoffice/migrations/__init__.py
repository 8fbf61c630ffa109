"""The ledger's schema, one revision a step forward and back. `migrate` brings a database up to the newest."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from boxoffice.database import connect
from boxoffice.settings import Settings

LOCK_SECONDS = 60


async def migrate(settings: Settings, revision: str = "head") -> None:
    """Up to `revision`, or nothing. Many may start at once: one migrates, the others wait and find it done.

    SQLite: the whole of it is one transaction that holds the writers' lock from its beginning.
    """
    engine = connect(settings.ledger_url, busy_seconds=LOCK_SECONDS)
    try:
        async with engine.execution_options(writes=True).begin() as connection:
            await connection.run_sync(_upgrade, revision)
    finally:
        await engine.dispose()


def _upgrade(connection: sa.Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
