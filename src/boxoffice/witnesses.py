"""The three witnesses of an on-sale, none of them the app: the buyers, the ledger, the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from boxoffice.database import connect
from boxoffice.errors import NotFound, Unprocessable


class Step(NamedTuple):
    """What a buyer did."""

    name: str
    ms: float
    """Until the answer."""
    status: int
    """0: no answer."""
    code: str
    """Of a refusal, or ''."""
    after_ms: int = 0
    """The answer, since the buyer's story began."""


class Told(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An order as the buyer last heard of it."""

    id: str
    state: str
    seats: list[str] = []
    amount_minor: int = 0
    settled_ms: int = 0


class Story(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    crowd: str = "onsale"
    """Which script of load/ it is told by."""
    buyer: int
    of: int = 0
    """How many there are in the crowd."""
    plan: list[str] = []
    """What it means to do out of the usual, by the names of load/flow.js; `hostile`, and how, in load/hostile.js."""
    number: int = 0
    etas: list[tuple[int, int]] = []
    """When it was told how long it would wait (Unix ms), and the p90 of that in seconds."""
    called_at_ms: int = 0
    steps: list[Step] = []
    first: list[str] = []
    """The seats that it asked for first."""
    orders: list[Told] = []
    end: str = ""
    began_at_ms: int = 0
    ended_at_ms: int = 0
    refused: int = 0
    """How much of what it should not be given was refused, if it is hostile."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A live ticket in the ledger."""

    order: str
    seat: str


@dataclass(frozen=True, slots=True)
class Charge:
    """Money that the gateway holds and has not given back."""

    order: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    crowd: str = "onsale"
    """By which script of load/."""
    fights: bool = True
    """Whether the house is one of which all want the same tenth: the demo's."""
    buyers: int
    seats: int
    opened_ms: int
    sold_out_ms: int | None
    stories: Sequence[Story]
    tickets: Sequence[Ticket]
    amounts: dict[str, int]
    """What each paid order of the ledger costs, by order."""
    charges: Sequence[Charge]
    differences: Sequence[str]
    """What the audit found."""


def read_stories(file: Path) -> list[Story]:
    """One line of JSON a buyer. Raises Unprocessable when the file is something else."""
    return stories_in(file.name, file.read_bytes(), lambda line: bool(line))


def stories_in_log(name: str, log: bytes) -> list[Story]:
    """Of k6 in a pod, whose summary stands between them; the logs of several runners may follow one another. Raises
    Unprocessable."""
    return stories_in(name, log, lambda line: line.startswith(b"{"))


def stories_in(name: str, text: bytes, is_story: Callable[[bytes], bool]) -> list[Story]:
    decoder = msgspec.json.Decoder(Story)
    try:
        return [decoder.decode(line) for line in text.splitlines() if is_story(line)]
    except msgspec.DecodeError as error:
        raise Unprocessable(f"{name} is not a file of buyers' stories: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """A sale in the ledger."""

    uid: str
    tickets: list[Ticket]
    amounts: dict[str, int]
    """Of paid orders, in minor units."""
    last_paid_ms: int | None


async def read_books(ledger_url: str, sale: str, ca_file: str = "") -> Books:
    """By plain SQL: no table or query of the app stands between the ledger and the verdict. Raises NotFound."""
    live = "FROM tickets t JOIN orders o ON o.id = t.order_id WHERE o.sale = :sale AND t.seat IS NOT NULL"
    paid = "FROM orders WHERE sale = :sale AND state = 'paid'"
    async with reading(ledger_url, ca_file) as ask:
        known = await ask("SELECT uid FROM sales WHERE name = :sale", sale=sale)
        if not known:
            raise NotFound(f"the ledger knows no sale named {sale!r}", code="unknown_sale")
        return Books(
            uid=known[0][0],
            tickets=[Ticket(*row) for row in await ask(f"SELECT t.order_id, t.seat_name {live}", sale=sale)],
            amounts={row[0]: row[1] for row in await ask(f"SELECT id, amount_minor {paid}", sale=sale)},
            last_paid_ms=(await ask(f"SELECT max(settled_ms) {paid}", sale=sale))[0][0],
        )


async def read_charges(gateway_url: str, sale_uid: str) -> list[Charge]:
    """What the gateway took for this sale and has not given back, by its own list."""
    held = "SELECT order_id, amount_minor FROM charges WHERE sale_uid = :uid AND state = 'paid'"
    async with reading(gateway_url) as ask:
        return [Charge(*row) for row in await ask(held, uid=sale_uid)]


Ask = Callable[..., Awaitable[list[Any]]]


@asynccontextmanager
async def reading(url: str, ca_file: str = "") -> AsyncIterator[Ask]:
    """One view of a database, by a connection of its own; it answers plain SQL with named values."""
    engine = connect(url, ca_file) if ca_file else create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:

            async def ask(statement: str, **values: str) -> list[Any]:
                return list(await connection.execute(sa.text(statement), values))

            yield ask
    finally:
        await engine.dispose()
