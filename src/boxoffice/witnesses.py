"""The three witnesses of an on-sale, none of them the app: the buyers, the ledger, the gateway."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from boxoffice.errors import Unprocessable

Step = tuple[str, float, int, str]
"""What a buyer did: its name, ms until the answer, HTTP status (0: no answer), code of a refusal or ''."""


class Told(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An order as the buyer last heard of it."""

    id: str
    state: str
    seats: list[str] = []
    amount_minor: int = 0
    settled_ms: int = 0


class Story(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    buyer: int
    plan: list[str] = []
    """What it means to do out of the usual, by the names of load/onsale.js."""
    number: int = 0
    called_at_ms: int = 0
    steps: list[Step] = []
    first: list[str] = []
    """The seats that it asked for first."""
    orders: list[Told] = []
    end: str = ""
    ended_at_ms: int = 0
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
    decoder = msgspec.json.Decoder(Story)
    try:
        return [decoder.decode(line) for line in file.read_bytes().splitlines() if line]
    except msgspec.DecodeError as error:
        raise Unprocessable(f"{file.name} is not a file of buyers' stories: {error}") from None


class Books:
    """A sale in the ledger's file, by plain SQL: nothing of the app stands between it and the verdict."""

    def __init__(self, file: Path, sale: str) -> None:
        live = "FROM tickets t JOIN orders o ON o.id = t.order_id WHERE o.sale = ? AND t.seat IS NOT NULL"
        paid = "FROM orders WHERE sale = ? AND state = 'paid'"
        with _reading(file) as db:
            self.uid = str(db.execute("SELECT uid FROM sales WHERE name = ?", (sale,)).fetchone()[0])
            self.tickets = [Ticket(*row) for row in db.execute(f"SELECT t.order_id, t.seat_name {live}", (sale,))]
            self.amounts = dict(db.execute(f"SELECT id, amount_minor {paid}", (sale,)))
            self.last_paid_ms: int | None = db.execute(f"SELECT max(settled_ms) {paid}", (sale,)).fetchone()[0]


def read_charges(file: Path, sale_uid: str) -> list[Charge]:
    """What the gateway took for this sale and has not given back, by its own list."""
    held = "SELECT order_id, amount_minor FROM charges WHERE sale_uid = ? AND state = 'paid'"
    with _reading(file) as db:
        return [Charge(*row) for row in db.execute(held, (sale_uid,))]


def _reading(file: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=10))
