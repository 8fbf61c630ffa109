"""What a sale came to, as `boxoffice report` tells it: units are in the names, times in UTC."""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEMA = 1

State = Literal["scheduled", "prequeue", "open", "closed", "archived"]


class Told(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of the report."""


class Times(Told, frozen=True, kw_only=True):
    """RFC 3339; null: not yet, or not known."""

    joining_from: str
    opens: str
    opened: str | None
    sold_out: str | None
    closes: str
    archived: str | None
    first_sample: str | None
    last_sample: str | None


class SectionSums(Told, frozen=True, kw_only=True):
    name: str
    seats: int
    sold: int
    price_minor: int
    revenue_minor: int


class Money(Told, frozen=True, kw_only=True):
    """Minor units of the currency. `revenue` is what stands; what was paid back is not in it."""

    currency: str
    revenue_minor: int
    refunded_minor: int


class Waits(Told, frozen=True, kw_only=True):
    """Of the numbers that were called."""

    numbers: int
    p50_seconds: float
    p90_seconds: float
    p99_seconds: float
    longest_seconds: float


class Bin(Told, frozen=True, kw_only=True):
    from_seconds: int
    to_seconds: int
    numbers: int


class Waiting(Told, frozen=True, kw_only=True):
    """Null: nobody was called. `since_opening`: who came before it has waited since then. Right to within a sample's
    distance."""

    within_seconds: int
    since_joining: Waits | None
    since_opening: Waits | None
    histogram_since_opening: list[Bin]
    longest_line: int


class Fairness(Told, frozen=True, kw_only=True):
    """`inversions`: how often the samples saw the called number, or the counter of numbers, go back."""

    inversions: int
    lapsed_percent_of_called: float | None
    buyers: int | None
    """Null once they were erased."""
    most_seats_of_one_buyer: int | None
    seats_allowed_each: int


class Conversions(Told, frozen=True, kw_only=True):
    """From joining to paying. Visits and holds are counted by Redis: after a wipe some are counted again."""

    joined: int
    called: int
    came: int
    lapsed: int
    holds: int
    holds_expired: int
    visits_expired: int
    contested: int
    """Tries for seats that somebody else had."""
    orders: int
    paid: int
    """And not paid back."""
    came_percent_of_called: float | None
    paid_percent_of_came: float | None


class Moment(Told, frozen=True, kw_only=True):
    """The sale at the end of a step; what is per minute is the step's mean."""

    at: str
    waiting: int
    called: int
    """In all so far."""
    inside: int
    inside_target: int
    held_seats: int
    sold_seats: int
    joined_per_minute: float
    called_per_minute: float
    asked_per_minute: int
    """In Manual mode; else 0."""


class Pace(Told, frozen=True, kw_only=True):
    step_seconds: int
    most_called_per_minute: float
    mean_inside_percent_of_target: float | None
    moments: list[Moment]


class Outcomes(Told, frozen=True, kw_only=True):
    state: str
    reason: str
    orders: int
    seats: int


class Settling(Told, frozen=True, kw_only=True):
    """From placing an order to its ticket."""

    p50_seconds: float
    p99_seconds: float
    longest_seconds: float


class Silence(Told, frozen=True, kw_only=True):
    """No samples: Redis, the ledger or settlement was away."""

    begin: str
    end: str
    seconds: int


class Faults(Told, frozen=True, kw_only=True):
    recoveries: list[str]
    """When Redis had been rebuilt."""
    silences: list[Silence]
    dead_letters: dict[str, int]
    """By state: open, replayed, discarded."""
    unfinished_orders: int


class PolicyChange(Told, frozen=True, kw_only=True):
    """What was in force from then on, as the samples saw it."""

    at: str
    policy: str


class Deed(Told, frozen=True, kw_only=True):
    at: str
    who: str
    what: str
    why: str


class SaleReport(Told, frozen=True, kw_only=True):
    schema: int = SCHEMA
    sale: str
    uid: str
    title: str
    venue: str
    time_zone: str
    at: str
    state: State
    erased: bool
    """Personal data is gone: `boxoffice purge`."""
    times: Times
    seconds_to_sell_out: float | None
    seats: int
    seats_sold: int
    sections: list[SectionSums]
    money: Money
    waiting: Waiting | None
    """Null: no samples were taken."""
    fairness: Fairness
    conversions: Conversions
    pace: Pace | None
    outcomes: list[Outcomes]
    settling: Settling | None
    faults: Faults
    policies: list[PolicyChange]
    deeds: list[Deed]
