"""What revisions are made of: steps that may be repeated, and that a database takes while others write.

MySQL commits every DDL statement by itself, so a migration that was killed begins again in its middle.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op


def create_table(name: str, *parts: Any) -> None:
    """Compared byte by byte, whatever the database's own collation is."""
    op.create_table(name, *parts, if_not_exists=True, mysql_charset="utf8mb4", mysql_collate="utf8mb4_bin")


def add_column(table: str, column: sa.Column[Any]) -> None:
    if column.name not in _columns(table):
        op.add_column(table, column)


def drop_column(table: str, name: str) -> None:
    if name in _columns(table):
        op.drop_column(table, name)


def create_index(name: str, table: str, columns: list[str]) -> None:
    if name in _indexes(table):
        return
    if _is_mysql():  # refused rather than done with a lock
        op.execute(f"CREATE INDEX {name} ON {table} ({', '.join(columns)}) ALGORITHM=INPLACE LOCK=NONE")
    else:
        op.create_index(name, table, columns)


def drop_index(name: str, table: str) -> None:
    if name in _indexes(table):
        op.drop_index(name, table)


def _indexes(table: str) -> set[str | None]:
    return {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}


def _columns(table: str) -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}


def _is_mysql() -> bool:
    return op.get_bind().dialect.name in ("mysql", "mariadb")
