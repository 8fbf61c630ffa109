"""The ledger's tables. Written with Core statements only; a record is validated before it comes here.

Identities are 32 hex digits, times Unix milliseconds, amounts minor units of the order's currency.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlmodel import Field, SQLModel

Count = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A rising primary key: SQLite counts only an INTEGER by itself."""

Payload = sa.LargeBinary(length=4 * 1024 * 1024).with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


class Sale(SQLModel, table=True):
    """One a sale name, for good: deleting the resource does not touch it."""

    __tablename__ = "sales"

    uid: str = Field(sa_type=sa.CHAR(32), primary_key=True)
    name: str = Field(max_length=253, unique=True)
    seating_digest: str = Field(sa_type=sa.CHAR(64))
    seats_total: int
    spec: str = Field(sa_type=sa.Text)
    created_ms: int = Field(sa_type=sa.BigInteger)
    opened_ms: int | None = Field(default=None, sa_type=sa.BigInteger)
    """Fixed at the first opening; from then on the seating cannot change."""
    dropped_ms: int | None = Field(default=None, sa_type=sa.BigInteger)
    """Taken out of Redis on purpose, so recovery does not bring it back."""
    archived_ms: int | None = Field(default=None, sa_type=sa.BigInteger)
    """So, because it is closed and settled: what buyers ask of it is answered from here."""


class Order(SQLModel, table=True):
    """One an order that was settled, whatever the outcome."""

    __tablename__ = "orders"
    __table_args__ = (
        sa.Index("orders_by_position", "log_id", "log_partition", "log_offset"),
        sa.Index("orders_in_order", "sale_uid", "id"),
        sa.Index("orders_by_buyer", "buyer"),
    )

    id: str = Field(sa_type=sa.CHAR(32), primary_key=True)
    sale_uid: str = Field(sa_type=sa.CHAR(32), foreign_key="sales.uid")
    sale: str = Field(max_length=253)
    buyer: str = Field(sa_type=sa.CHAR(32))
    hold: int = Field(sa_type=sa.BigInteger)
    fence: int = Field(sa_type=sa.BigInteger)
    seats_count: int
    seats: str = Field(sa_type=sa.Text)
    """JSON list of seat indices; what was asked for, whether or not it was sold."""
    names: str = Field(sa_type=sa.Text)
    """JSON list of the seats' names."""
    amount_minor: int = Field(sa_type=sa.BigInteger)
    currency: str = Field(sa_type=sa.CHAR(3))
    method: str = Field(max_length=64)
    state: str = Field(max_length=16)
    reason: str = Field(max_length=255)
    charge_id: str = Field(max_length=64)
    charge_minor: int = Field(sa_type=sa.BigInteger)
    log_id: str = Field(max_length=64)
    log_partition: int
    log_offset: int = Field(sa_type=sa.BigInteger)
    attempts: int
    placed_ms: int = Field(sa_type=sa.BigInteger)
    settled_ms: int = Field(sa_type=sa.BigInteger)
    refunded_ms: int | None = Field(default=None, sa_type=sa.BigInteger)
    due_ms: int | None = Field(default=None, sa_type=sa.BigInteger, index=True)
    """Something is still to be done for this order, from then on: another try, a refund, or its effect."""
    who: str = Field(max_length=128)
    """Asked for the refund."""
    why: str = Field(max_length=255)


class Ticket(SQLModel, table=True):
    """One a seat that was sold. A refunded one loses `seat`, so that the unique key lets it be sold again."""

    __tablename__ = "tickets"
    __table_args__ = (
        sa.UniqueConstraint("sale_uid", "seat", name="one_seat_one_ticket"),
        sa.Index("tickets_in_order", "sale_uid", "order_id", "item"),
    )

    order_id: str = Field(sa_type=sa.CHAR(32), primary_key=True, foreign_key="orders.id")
    item: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    sale_uid: str = Field(sa_type=sa.CHAR(32))
    seat: int | None
    seat_name: str = Field(max_length=128)


class LogPosition(SQLModel, table=True):
    """How far a partition is settled, and whose turn it is: only the newest fence moves `next_offset`."""

    __tablename__ = "positions"

    topic: str = Field(max_length=190, primary_key=True)
    log_id: str = Field(max_length=64, primary_key=True)
    log_partition: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    fence: int = Field(sa_type=sa.BigInteger)
    next_offset: int = Field(sa_type=sa.BigInteger)
    applied: int = Field(sa_type=sa.BigInteger)
    """Below this offset, effects have reached Redis."""


class Checkpoint(SQLModel, table=True):
    """The line's counters every few seconds, so that a wiped Redis issues no number twice."""

    __tablename__ = "checkpoints"

    sale_uid: str = Field(sa_type=sa.CHAR(32), primary_key=True, foreign_key="sales.uid")
    epoch: int = Field(sa_type=sa.BigInteger)
    issued: int = Field(sa_type=sa.BigInteger)
    called: int = Field(sa_type=sa.BigInteger)
    lapsed: int = Field(sa_type=sa.BigInteger)
    at_ms: int = Field(sa_type=sa.BigInteger)


class Sample(SQLModel, table=True):
    """A sale as it stood, one a slot of ten seconds: what the line and the house came to, as counts alone."""

    __tablename__ = "samples"

    sale_uid: str = Field(sa_type=sa.CHAR(32), primary_key=True, foreign_key="sales.uid")
    slot: int = Field(sa_type=sa.BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    at_ms: int = Field(sa_type=sa.BigInteger)
    stage: str = Field(max_length=16)
    policy: str = Field(max_length=16)
    recovered_ms: int = Field(sa_type=sa.BigInteger)
    issued: int = Field(sa_type=sa.BigInteger)
    called: int = Field(sa_type=sa.BigInteger)
    lapsed: int = Field(sa_type=sa.BigInteger)
    waiting: int
    active: int
    target: int
    per_minute: int
    held: int
    paying: int
    sold: int
    claims: int = Field(sa_type=sa.BigInteger)
    holds: int = Field(sa_type=sa.BigInteger)
    contested: int = Field(sa_type=sa.BigInteger)
    lapses: int = Field(sa_type=sa.BigInteger)
    expired_holds: int = Field(sa_type=sa.BigInteger)
    expired_sessions: int = Field(sa_type=sa.BigInteger)


class DeadLetter(SQLModel, table=True):
    """One a record that cannot be an order."""

    __tablename__ = "dead_letters"
    __table_args__ = (
        sa.UniqueConstraint("topic", "log_id", "log_partition", "log_offset", name="one_record_one_letter"),
        sa.Index("dead_letters_by_digest", "payload_digest"),
    )

    id: int | None = Field(default=None, sa_type=Count, primary_key=True)
    topic: str = Field(max_length=190)
    log_id: str = Field(max_length=64)
    log_partition: int
    log_offset: int = Field(sa_type=sa.BigInteger)
    record_key: bytes = Field(sa_type=Payload)
    payload: bytes = Field(sa_type=Payload)
    payload_digest: str = Field(sa_type=sa.CHAR(64))
    error: str = Field(max_length=512)
    attempts: int
    first_seen_ms: int = Field(sa_type=sa.BigInteger)
    state: str = Field(max_length=16)
    who: str = Field(max_length=128)
    why: str = Field(max_length=255)


class Action(SQLModel, table=True):
    """The trail of what people did."""

    __tablename__ = "actions"

    id: int | None = Field(default=None, sa_type=Count, primary_key=True)
    at_ms: int = Field(sa_type=sa.BigInteger)
    who: str = Field(max_length=128)
    what: str = Field(max_length=128)
    subject: str = Field(max_length=253)
    why: str = Field(max_length=255)


class Owner(SQLModel, table=True):
    """The one instance whose ledger this is: two in one database would take each other's sales for their own."""

    __tablename__ = "owners"

    only_one: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    instance: str = Field(max_length=100)


sales = SQLModel.metadata.tables["sales"]
orders = SQLModel.metadata.tables["orders"]
tickets = SQLModel.metadata.tables["tickets"]
positions = SQLModel.metadata.tables["positions"]
checkpoints = SQLModel.metadata.tables["checkpoints"]
samples = SQLModel.metadata.tables["samples"]
dead_letters = SQLModel.metadata.tables["dead_letters"]
actions = SQLModel.metadata.tables["actions"]
owners = SQLModel.metadata.tables["owners"]
