"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from boxoffice.migrations.steps import create_index, create_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_table(
        "actions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.String(length=128), nullable=False),
        sa.Column("what", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=253), nullable=False),
        sa.Column("why", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("topic", sa.String(length=190), nullable=False),
        sa.Column("log_id", sa.String(length=64), nullable=False),
        sa.Column("log_partition", sa.Integer(), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("record_key", sa.LargeBinary(length=4194304), nullable=False),
        sa.Column("payload", sa.LargeBinary(length=4194304), nullable=False),
        sa.Column("payload_digest", sa.CHAR(length=64), nullable=False),
        sa.Column("error", sa.String(length=512), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("who", sa.String(length=128), nullable=False),
        sa.Column("why", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("topic", "log_id", "log_partition", "log_offset", name="one_record_one_letter"),
    )
    create_index("dead_letters_by_digest", "dead_letters", ["payload_digest"])
    create_table(
        "positions",
        sa.Column("topic", sa.String(length=190), nullable=False),
        sa.Column("log_id", sa.String(length=64), nullable=False),
        sa.Column("log_partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("applied", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "log_id", "log_partition"),
    )
    create_table(
        "sales",
        sa.Column("uid", sa.CHAR(length=32), nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("seating_digest", sa.CHAR(length=64), nullable=False),
        sa.Column("seats_total", sa.Integer(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=True),
        sa.Column("dropped_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("name"),
    )
    create_table(
        "checkpoints",
        sa.Column("sale_uid", sa.CHAR(length=32), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.Column("called", sa.BigInteger(), nullable=False),
        sa.Column("lapsed", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["sale_uid"], ["sales.uid"]),
        sa.PrimaryKeyConstraint("sale_uid"),
    )
    create_table(
        "orders",
        sa.Column("id", sa.CHAR(length=32), nullable=False),
        sa.Column("sale_uid", sa.CHAR(length=32), nullable=False),
        sa.Column("sale", sa.String(length=253), nullable=False),
        sa.Column("buyer", sa.CHAR(length=32), nullable=False),
        sa.Column("hold", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("seats_count", sa.Integer(), nullable=False),
        sa.Column("seats", sa.Text(), nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("method", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=False),
        sa.Column("charge_id", sa.String(length=64), nullable=False),
        sa.Column("charge_minor", sa.BigInteger(), nullable=False),
        sa.Column("log_id", sa.String(length=64), nullable=False),
        sa.Column("log_partition", sa.Integer(), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("placed_ms", sa.BigInteger(), nullable=False),
        sa.Column("settled_ms", sa.BigInteger(), nullable=False),
        sa.Column("refunded_ms", sa.BigInteger(), nullable=True),
        sa.Column("due_ms", sa.BigInteger(), nullable=True),
        sa.Column("who", sa.String(length=128), nullable=False),
        sa.Column("why", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["sale_uid"], ["sales.uid"]),
        sa.PrimaryKeyConstraint("id"),
    )
    create_index("ix_orders_due_ms", "orders", ["due_ms"])
    create_index("orders_by_position", "orders", ["log_id", "log_partition", "log_offset"])
    create_index("orders_by_sale", "orders", ["sale_uid", "state"])
    create_table(
        "tickets",
        sa.Column("order_id", sa.CHAR(length=32), nullable=False),
        sa.Column("item", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sale_uid", sa.CHAR(length=32), nullable=False),
        sa.Column("seat", sa.Integer(), nullable=True),
        sa.Column("seat_name", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"]),
        sa.PrimaryKeyConstraint("order_id", "item"),
        sa.UniqueConstraint("sale_uid", "seat", name="one_seat_one_ticket"),
    )


def downgrade() -> None:
    op.drop_table("tickets")
    op.drop_table("orders")
    op.drop_table("checkpoints")
    op.drop_table("sales")
    op.drop_table("positions")
    op.drop_table("dead_letters")
    op.drop_table("actions")
