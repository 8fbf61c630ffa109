"""Orders and tickets of a sale are read in order, a chunk at a time: each chunk from an index."""

from __future__ import annotations

from boxoffice.migrations.steps import create_index, drop_index

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_index("orders_in_order", "orders", ["sale_uid", "id"])
    create_index("tickets_in_order", "tickets", ["sale_uid", "order_id", "item"])


def downgrade() -> None:
    drop_index("tickets_in_order", "tickets")
    drop_index("orders_in_order", "orders")
