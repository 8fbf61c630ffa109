"""A database belongs to one instance; and an index that no statement uses goes: it cost every order a write."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from boxoffice.migrations.steps import create_index, create_table, drop_index

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_table(
        "owners",
        sa.Column("only_one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("instance", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("only_one"),
    )
    drop_index("orders_by_sale", "orders")


def downgrade() -> None:
    create_index("orders_by_sale", "orders", ["sale_uid", "state"])
    op.drop_table("owners")
