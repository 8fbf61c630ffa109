"""How each sale went, in samples of counts: what a report is made of when Redis has forgotten it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from boxoffice.migrations.steps import create_table

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_table(
        "samples",
        sa.Column("sale_uid", sa.CHAR(length=32), nullable=False),
        sa.Column("slot", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("policy", sa.String(length=16), nullable=False),
        sa.Column("recovered_ms", sa.BigInteger(), nullable=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.Column("called", sa.BigInteger(), nullable=False),
        sa.Column("lapsed", sa.BigInteger(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.Column("target", sa.Integer(), nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("paying", sa.Integer(), nullable=False),
        sa.Column("sold", sa.Integer(), nullable=False),
        sa.Column("claims", sa.BigInteger(), nullable=False),
        sa.Column("holds", sa.BigInteger(), nullable=False),
        sa.Column("contested", sa.BigInteger(), nullable=False),
        sa.Column("lapses", sa.BigInteger(), nullable=False),
        sa.Column("expired_holds", sa.BigInteger(), nullable=False),
        sa.Column("expired_sessions", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["sale_uid"], ["sales.uid"]),
        sa.PrimaryKeyConstraint("sale_uid", "slot"),
    )


def downgrade() -> None:
    op.drop_table("samples")
