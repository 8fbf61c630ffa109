"""A sale that is closed and settled is in the ledger alone: it is marked, and a buyer's orders are found."""

from __future__ import annotations

import sqlalchemy as sa

from boxoffice.migrations.steps import add_column, create_index, drop_column, drop_index

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_column("sales", sa.Column("archived_ms", sa.BigInteger(), nullable=True))
    create_index("orders_by_buyer", "orders", ["buyer"])


def downgrade() -> None:
    drop_index("orders_by_buyer", "orders")
    drop_column("sales", "archived_ms")
