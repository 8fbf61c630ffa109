"""How an order came to us."""

from __future__ import annotations

import sqlalchemy as sa

from boxoffice.migrations.steps import add_column, drop_column

revision = "next"
down_revision = "HEAD"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_column("orders", sa.Column("channel", sa.String(length=16), nullable=False, server_default=""))


def downgrade() -> None:
    drop_column("orders", "channel")
