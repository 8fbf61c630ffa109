"""Dead letters: records that cannot be an order, kept with their reason until a person decides."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from prometheus_client import Gauge

from boxoffice.errors import Conflict, NotFound, Unavailable
from boxoffice.eventlog import EventLog, Position
from boxoffice.ledger import Ledger
from boxoffice.salerecords import action
from boxoffice.tables import actions, dead_letters

LOOK_SECONDS = 10.0

OPEN = Gauge("boxoffice_dead_letters_open", "Dead letters that nobody has decided on yet")

logger = logging.getLogger(__name__)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """`attempts` counts how often this very payload failed; `first_seen_ms` is when it first did (Unix ms)."""

    id: int
    topic: str
    log_id: str
    log_partition: int
    log_offset: int
    record_key: bytes
    payload: bytes
    payload_digest: str
    error: str
    attempts: int
    first_seen_ms: int
    state: str
    who: str
    why: str


def document(letter: DeadLetter) -> dict[str, Any]:
    """For people and scripts: bytes as text where they are text."""
    return {
        "id": letter.id,
        "state": letter.state,
        "error": letter.error,
        "attempts": letter.attempts,
        "firstSeenAt": datetime.fromtimestamp(letter.first_seen_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "origin": f"{letter.topic}/{letter.log_partition}/{letter.log_offset}",
        "key": letter.record_key.hex(),
        "payload": letter.payload.decode(errors="replace"),
        "who": letter.who,
        "why": letter.why,
    }


async def list_letters(ledger: Ledger, state: str = "open", limit: int = 100, after: int = 0) -> list[DeadLetter]:
    """By id, those beyond `after`. `state`: open, replayed or discarded."""
    statement = (
        sa.select(dead_letters)
        .where(dead_letters.c.state == state, dead_letters.c.id > after)
        .order_by(dead_letters.c.id)
        .limit(limit)
    )
    async with ledger.reading() as connection:
        return [_letter(row) for row in await connection.execute(statement)]


async def watch_letters(ledger: Ledger) -> None:
    """Until cancelled."""
    while True:
        try:
            OPEN.set(await count_open(ledger))
        except Unavailable as fault:
            logger.debug("dead letters are not counted: %s", fault.detail)
        except Exception:
            logger.exception("dead letters")
        await asyncio.sleep(LOOK_SECONDS)


async def count_open(ledger: Ledger) -> int:
    statement = sa.select(sa.func.count()).select_from(dead_letters).where(dead_letters.c.state == "open")
    async with ledger.reading() as connection:
        return (await connection.execute(statement)).scalar_one()


async def show_letter(ledger: Ledger, letter_id: int) -> DeadLetter:
    """Raises NotFound."""
    async with ledger.reading() as connection:
        found = await connection.execute(sa.select(dead_letters).where(dead_letters.c.id == letter_id))
        row = found.first()
    if row is None:
        raise NotFound(f"there is no dead letter {letter_id}", code="unknown_letter")
    return _letter(row)


async def replay_letter(ledger: Ledger, log: EventLog, letter_id: int, who: str, why: str) -> Position:
    """Publishes the payload again, then marks the letter; a crash between the two publishes twice, which ends
    at the order's id. Raises NotFound, Conflict (letter_closed), LogUnavailable."""
    letter = await _open_letter(ledger, letter_id)
    position = await log.publish(letter.record_key, letter.payload)
    await _close(ledger, letter, "replayed", who, why)
    return position


async def discard_letter(ledger: Ledger, letter_id: int, who: str, why: str) -> None:
    """Raises NotFound, Conflict (letter_closed)."""
    await _close(ledger, await _open_letter(ledger, letter_id), "discarded", who, why)


async def _open_letter(ledger: Ledger, letter_id: int) -> DeadLetter:
    letter = await show_letter(ledger, letter_id)
    if letter.state != "open":
        raise Conflict(f"dead letter {letter_id} is {letter.state} already", code="letter_closed")
    return letter


async def _close(ledger: Ledger, letter: DeadLetter, state: str, who: str, why: str) -> None:
    still_open = sa.update(dead_letters).where(dead_letters.c.id == letter.id, dead_letters.c.state == "open")
    async with ledger.writing() as connection:
        closed = await connection.execute(still_open.values(state=state, who=who, why=why))
        if closed.rowcount:
            note = action(who, f"dead letter {state}", str(letter.id), why)
            await connection.execute(sa.insert(actions), [note])


def _letter(row: sa.Row[Any]) -> DeadLetter:
    return DeadLetter(**row._mapping)
