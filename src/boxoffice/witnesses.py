"""The three witnesses of an on-sale, none of them the app: the buyers, the ledger, the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

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
    number: int = 0
    called_at_ms: int = 0
    steps: list[Step] = []
    first: list[str] = []
    """The seats that it asked for first."""
    orders: list[Told] = []
    end: str = ""
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
