"""What the ledger keeps of a sale: its uid for good, the line's checkpoints, the sums, and who did what."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from boxoffice.database import Database
from boxoffice.errors import Conflict
from boxoffice.tables import actions, checkpoints, orders, sales


class SaleRecord(msgspec.Struct, frozen=True):
    uid: str
    name: str
    seating_digest: str
    seats_total: int
    spec: str
    created_ms: int
    opened_ms: int | None
    dropped_ms: int | None
    archived_ms: int | None = None


class LineCheckpoint(msgspec.Struct, frozen=True):
    """The line's counters at a moment (Unix ms)."""

    sale_uid: str
    epoch: int
    issued: int
    called: int
    lapsed: int
    at_ms: int


class Sums(msgspec.Struct):
    """Of one sale: seats and revenue that stand now, and orders by outcome."""

    seats: int = 0
    revenue_minor: int = 0
    orders: dict[str, int] = msgspec.field(default_factory=dict)


class SaleRecords(Database):
    async def ensure_sale(self, name: str, seating_digest: str, spec: str, seats_total: int) -> SaleRecord:
        """The sale of this name, made when there is none. Raises Conflict (name_taken) for another seating
        once the sale was opened; before that the seating may change."""
        while True:
            found = await self.sale(name)
            if found is None:
                await self._add_sale(name, seating_digest, spec, seats_total)
            elif (found.seating_digest, found.spec, found.dropped_ms) == (seating_digest, spec, None):
                return found
            elif not await self._change_sale(found.uid, seating_digest, spec, seats_total):
                raise Conflict(
                    f"a sale named {name!r} was opened with another seating; choose another name",
                    code="name_taken",
                )

    async def _add_sale(self, name: str, seating_digest: str, spec: str, seats_total: int) -> None:
        row = {
            "uid": uuid.uuid4().hex,
            "name": name,
            "seating_digest": seating_digest,
            "seats_total": seats_total,
            "spec": spec,
            "created_ms": now_ms(),
        }
        try:
            async with self.writing() as connection:
                await connection.execute(sa.insert(sales), [row])
        except IntegrityError:
            return  # someone else made it at the same moment

    async def _change_sale(self, uid: str, seating_digest: str, spec: str, seats_total: int) -> bool:
        same_or_closed = sa.or_(sales.c.opened_ms.is_(None), sales.c.seating_digest == seating_digest)
        values = {
            "seating_digest": seating_digest,
            "spec": spec,
            "seats_total": seats_total,
            "dropped_ms": None,
            "archived_ms": None,
        }
        async with self.writing() as connection:
            changed = await connection.execute(
                sa.update(sales).where(sales.c.uid == uid, same_or_closed).values(values)
            )
        return changed.rowcount == 1

    async def mark_opened(self, uid: str, opened_ms: int) -> None:
        """Fixes the seating for good; the first opening counts."""
        statement = sa.update(sales).where(sales.c.uid == uid, sales.c.opened_ms.is_(None))
        async with self.writing() as connection:
            await connection.execute(statement.values(opened_ms=opened_ms))

    async def mark_dropped(self, name: str) -> None:
        """Redis loses this sale on purpose; applying it again takes the mark back."""
        async with self.writing() as connection:
            await connection.execute(sa.update(sales).where(sales.c.name == name).values(dropped_ms=now_ms()))

    async def mark_archived(self, seen: SaleRecord) -> bool:
        """Redis loses this sale because it is over; false when it was changed since it was seen."""
        unchanged = (sales.c.uid == seen.uid, sales.c.spec == seen.spec, sales.c.dropped_ms.is_(None))
        now = now_ms()
        async with self.writing() as connection:
            marked = await connection.execute(
                sa.update(sales).where(*unchanged).values(archived_ms=now, dropped_ms=now)
            )
            if marked.rowcount:
                done = action("settle", "archive", seen.name, "closed and settled")
                await connection.execute(sa.insert(actions), [done])
        return marked.rowcount == 1

    async def archived_names(self) -> set[str]:
        async with self.reading() as connection:
            found = await connection.execute(sa.select(sales.c.name).where(sales.c.archived_ms.is_not(None)))
            return set(found.scalars())

    async def sale(self, name: str) -> SaleRecord | None:
        async with self.reading() as connection:
            row = (await connection.execute(sa.select(sales).where(sales.c.name == name))).first()
        return None if row is None else SaleRecord(**row._mapping)

    async def sales(self) -> list[SaleRecord]:
        async with self.reading() as connection:
            rows = (await connection.execute(sa.select(sales).order_by(sales.c.name))).all()
        return [SaleRecord(**row._mapping) for row in rows]

    async def sums(self) -> dict[str, Sums]:
        """By sale uid; a sale without orders is absent."""
        statement = sa.select(
            orders.c.sale_uid,
            orders.c.state,
            sa.func.count(),
            sa.func.sum(orders.c.seats_count),
            sa.func.sum(orders.c.charge_minor),
        ).group_by(orders.c.sale_uid, orders.c.state)
        found: dict[str, Sums] = {}
        async with self.reading() as connection:
            for uid, state, count, seats, revenue in await connection.execute(statement):
                sums = found.setdefault(uid, Sums())
                sums.orders[state] = count
                if state == "paid":
                    sums.seats, sums.revenue_minor = int(seats), int(revenue)
        return found

    async def checkpoint(self, point: LineCheckpoint) -> None:
        """Keeps the highest: a Redis that lost its memory must not pull the counters back."""
        newer = sa.or_(
            checkpoints.c.epoch < point.epoch,
            sa.and_(
                checkpoints.c.epoch == point.epoch,
                checkpoints.c.issued <= point.issued,
                checkpoints.c.called <= point.called,
            ),
        )
        update = sa.update(checkpoints).where(checkpoints.c.sale_uid == point.sale_uid, newer)
        row = msgspec.structs.asdict(point)
        async with self.writing() as connection:
            if (await connection.execute(update.values(row))).rowcount:
                return
        try:
            async with self.writing() as connection:
                await connection.execute(sa.insert(checkpoints), [row])
        except IntegrityError:
            return  # there is a higher one

    async def checkpoint_of(self, sale_uid: str) -> LineCheckpoint | None:
        statement = sa.select(checkpoints).where(checkpoints.c.sale_uid == sale_uid)
        async with self.reading() as connection:
            row = (await connection.execute(statement)).first()
        return None if row is None else LineCheckpoint(**row._mapping)

    async def note(self, who: str, what: str, subject: str, why: str) -> None:
        """Keeps what a person did."""
        async with self.writing() as connection:
            await connection.execute(sa.insert(actions), [action(who, what, subject, why)])

    async def trail(self, limit: int = 100) -> Sequence[dict[str, str | int]]:
        """The newest actions first: at_ms, who, what, subject, why."""
        statement = sa.select(actions).order_by(actions.c.id.desc()).limit(limit)
        async with self.reading() as connection:
            return [dict(row._mapping) for row in await connection.execute(statement)]


def action(who: str, what: str, subject: str, why: str) -> dict[str, str | int]:
    return {"at_ms": now_ms(), "who": who, "what": what, "subject": subject, "why": why}


def now_ms() -> int:
    """For the record only; no decision hangs on this clock."""
    return int(time.time() * 1000)
