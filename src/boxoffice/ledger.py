"""The ledger: every sale written down exactly once, and the position up to which that is done.

A batch is one transaction: the position moves from where this consumer left it, under its own fence, together
with all that the records became. A second consumer of the partition, a repeat and a crash all end there.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.compiler import SQLCompiler

from boxoffice.database import connect
from boxoffice.orderrecords import OrderRecords, SettledOrder
from boxoffice.settings import Settings
from boxoffice.tables import dead_letters, orders, positions, tickets


class Fenced(Exception):
    """Another consumer has this partition now; nothing of the batch was written."""


class SeatTaken(Exception):
    """A seat or an order of the batch was written by someone else meanwhile; nothing of it was written."""


class Unfit(Exception):
    """The database cannot hold a row of the batch; nothing of it was written."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer's turn on a partition: [applied, next) is settled, but may not have reached Redis."""

    topic: str
    log_id: str
    partition: int
    fence: int
    next: int
    applied: int


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A record that cannot be an order, on its way to the dead letters."""

    log_offset: int
    record_key: bytes
    payload: bytes
    payload_digest: str
    error: str
    attempts: int
    first_seen_ms: int


class Ledger(OrderRecords):
    async def claim_partition(self, topic: str, log_id: str, partition: int, start: int) -> Claim:
        """Raises the fence; whoever had the partition before is fenced off. `start` is for a new position."""
        where = _position(topic, log_id, partition)
        while True:
            try:
                async with self.writing() as connection:
                    raised = await connection.execute(
                        sa.update(positions).where(*where).values(fence=positions.c.fence + 1)
                    )
                    if not raised.rowcount:
                        await connection.execute(
                            sa.insert(positions), [_first_position(topic, log_id, partition, start)]
                        )
                    row = (await connection.execute(sa.select(positions).where(*where))).one()
            except IntegrityError:
                continue  # another consumer made the row first: raise its fence
            return Claim(
                topic=topic,
                log_id=log_id,
                partition=partition,
                fence=row.fence,
                next=row.next_offset,
                applied=row.applied,
            )

    async def positions(self, topic: str, log_id: str) -> dict[int, tuple[int, int]]:
        """(next, applied) of each partition of this log that was ever claimed."""
        statement = sa.select(positions).where(positions.c.topic == topic, positions.c.log_id == log_id)
        async with self.reading() as connection:
            rows = (await connection.execute(statement)).all()
        return {row.log_partition: (row.next_offset, row.applied) for row in rows}

    async def record_batch(
        self, claim: Claim, to: int, applied: int, batch: Sequence[SettledOrder], letters: Sequence[Letter]
    ) -> Claim:
        """Writes a batch and moves the position to `to`, or nothing. Raises Fenced, SeatTaken, Unfit."""
        try:
            async with self.writing() as connection:
                await _move(connection, claim, to, applied)
                await _add(connection, orders, map(_order_row, batch))
                # By seat, so that two who want the same seats wait for each other, and not each for the other.
                seats = (row for order in batch for row in _ticket_rows(order))
                await _add(connection, tickets, sorted(seats, key=operator.itemgetter("sale_uid", "seat")))
                await _add(connection, dead_letters, [_letter_row(claim, letter) for letter in letters])
        except IntegrityError as error:
            raise SeatTaken(str(error.orig)) from error
        except DataError as error:
            raise Unfit(str(error.orig)) from error
        return msgspec.structs.replace(claim, next=to, applied=applied)

    async def look_again(self, claim: Claim) -> Claim:
        """Where the position stands, after a write whose outcome is unknown or a long silence. Raises Fenced, too
        when the database was put back to an older copy: what it has forgotten is still in the log."""
        statement = sa.select(positions).where(*_position(claim.topic, claim.log_id, claim.partition))
        async with self.reading() as connection:
            row = (await connection.execute(statement)).first()
        if row is None or row.fence != claim.fence:
            raise Fenced(f"partition {claim.partition} has another consumer")
        if row.next_offset < claim.next:
            raise Fenced(f"partition {claim.partition} was put back from {claim.next} to {row.next_offset}")
        return msgspec.structs.replace(claim, next=row.next_offset, applied=row.applied)

    async def move_applied(self, claim: Claim, applied: int) -> Claim:
        """Raises Fenced."""
        async with self.writing() as connection:
            await _move(connection, claim, claim.next, applied)
        return msgspec.structs.replace(claim, applied=applied)

    async def letters_seen(self, digests: Collection[str]) -> dict[str, tuple[int, int]]:
        """Payloads that failed before: how often, and when first (Unix ms)."""
        statement = (
            sa.select(
                dead_letters.c.payload_digest,
                sa.func.max(dead_letters.c.attempts),
                sa.func.min(dead_letters.c.first_seen_ms),
            )
            .where(dead_letters.c.payload_digest.in_(digests))
            .group_by(dead_letters.c.payload_digest)
        )
        async with self.reading() as connection:
            return {row[0]: (row[1], row[2]) for row in await connection.execute(statement)}

    async def change_order(self, seen: SettledOrder, **changes: Any) -> SettledOrder | None:
        """Changes an order that is still as it was seen, its tickets with it: paid ones get theirs, refunded
        ones lose the seat. None when someone else was faster. Raises SeatTaken."""
        changed = msgspec.structs.replace(seen, **changes)
        unchanged = (
            orders.c.id == seen.id,
            orders.c.state == seen.state,
            orders.c.attempts == seen.attempts,
            orders.c.due_ms == seen.due_ms if seen.due_ms is not None else orders.c.due_ms.is_(None),
        )
        try:
            async with self.writing() as connection:
                moved = await connection.execute(sa.update(orders).where(*unchanged).values(**changes))
                if not moved.rowcount:
                    return None
                if changed.state == "paid" and seen.state != "paid":
                    await _add(connection, tickets, _ticket_rows(changed))
                if changed.state == "refunded" and seen.state != "refunded":
                    await connection.execute(sa.update(tickets).where(tickets.c.order_id == seen.id).values(seat=None))
        except IntegrityError as error:
            raise SeatTaken(str(error.orig)) from error
        return changed


async def open_ledger(settings: Settings, reading: bool = False) -> Ledger:
    """Connects at the first statement; `migrate` makes the tables. `reading`: as the user who may only do that."""
    url = (reading and settings.ledger_reader_url) or settings.ledger_url
    return Ledger(connect(url, settings.ledger_ca_file, settings.ledger_pool))


async def _move(connection: AsyncConnection, claim: Claim, to: int, applied: int) -> None:
    moved = await connection.execute(
        sa.update(positions)
        .where(
            *_position(claim.topic, claim.log_id, claim.partition),
            positions.c.fence == claim.fence,
            positions.c.next_offset == claim.next,
        )
        .values(next_offset=to, applied=applied)
    )
    if moved.rowcount != 1:
        raise Fenced(f"partition {claim.partition} has another consumer")


async def _add(connection: AsyncConnection, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """As one multi-row statement, by the driver itself: SQLAlchemy's own handling costs as much again."""
    insert = _insert(table, connection.dialect)
    names = operator.itemgetter(*insert.positiontup or ())
    if values := [names(row) for row in rows]:
        await connection.exec_driver_sql(insert.string, values)


@functools.lru_cache(maxsize=16)
def _insert(table: sa.Table, dialect: sa.Dialect) -> SQLCompiler:
    """Of every column but a key that the database counts by itself."""
    columns = [column.name for column in table.c if column is not table.autoincrement_column]
    return sa.insert(table).compile(dialect=dialect, column_keys=columns)


def _position(topic: str, log_id: str, partition: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        positions.c.topic == topic,
        positions.c.log_id == log_id,
        positions.c.log_partition == partition,
    )


def _first_position(topic: str, log_id: str, partition: int, start: int) -> dict[str, Any]:
    return {
        "topic": topic,
        "log_id": log_id,
        "log_partition": partition,
        "fence": 1,
        "next_offset": start,
        "applied": start,
    }


def _order_row(order: SettledOrder) -> dict[str, Any]:
    row = msgspec.structs.asdict(order)
    row["seats_count"] = len(order.seats)
    row["seats"] = msgspec.json.encode(order.seats).decode()
    row["names"] = msgspec.json.encode(order.names).decode()
    return row


def _ticket_rows(order: SettledOrder) -> Iterable[dict[str, Any]]:
    if order.state != "paid":
        return
    for item, (seat, name) in enumerate(zip(order.seats, order.names, strict=True)):
        yield {
            "order_id": order.id,
            "item": item,
            "sale_uid": order.sale_uid,
            "seat": seat,
            "seat_name": name,
        }


def _letter_row(claim: Claim, letter: Letter) -> dict[str, Any]:
    origin = {"topic": claim.topic, "log_id": claim.log_id, "log_partition": claim.partition}
    return {**msgspec.structs.asdict(letter), **origin, "state": "open", "who": "", "why": ""}
