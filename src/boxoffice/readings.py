"""What is known of the back end at one moment: readings of its signals, and the load that the sale puts on it."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from boxoffice.spec import AdmissionSpec, Signal, Spec

Outcome = Literal["success", "breach", "inconclusive", "error", "idle"]

LOWEST_PRESSURE = 0.01
"""Below it nothing is different any more, and a logarithm stays finite."""
DARK_SECONDS = 120.0
"""After it a signal that is not fresh counts as lost: a scrape, a rollout or a short outage is over by then."""


class Fact(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What goes into a decision and comes out of it: JSON that reads back to the same bytes."""


class Reading(Fact, frozen=True, kw_only=True):
    """One signal, asked once.

    success, breach: measured, up to or over its setpoint. idle: nothing happened that could be measured (0/0).
    inconclusive: an answer that is no number of now, such as nothing, several series, infinity. error: no answer.
    """

    name: str
    outcome: Outcome
    value: float | None = None
    """In the query's unit; None is never zero."""
    at: float = 0.0
    """Unix seconds, by the sample."""
    message: str = ""
    """Why there is no value."""


class Load(Fact, frozen=True, kw_only=True):
    """The sale as its last beat showed it."""

    state: str
    """scheduled, prequeue, open, hold, drain, allTaken, soldOut, closed: the words of `lua/tick.lua`."""
    active: int
    waiting: int = 0
    ceiling: int | None = None
    """This sale's share of a budget; see budget.py."""


class Rules(Fact, frozen=True, kw_only=True):
    """The parts of a spec that a decision follows."""

    admission: AdmissionSpec
    signals: list[Signal] = []

    @classmethod
    def of(cls, spec: Spec) -> Rules:
        return cls(admission=spec.admission, signals=spec.signals)


def measured(signal: Signal, value: float, at: float) -> Reading:
    """What a number means for its signal. NaN is idle: PromQL makes it of 0/0."""
    if math.isnan(value):
        return Reading(name=signal.name, outcome="idle", at=at, message="the query gives NaN")
    if math.isinf(value) or value < 0:
        return Reading(name=signal.name, outcome="inconclusive", at=at, message=f"the query gives {value}")
    outcome: Outcome = "breach" if value > setpoint(signal) else "success"
    return Reading(name=signal.name, outcome=outcome, value=value, at=at)


def setpoint(signal: Signal) -> float:
    """In the query's unit."""
    return signal.setpoint / 1000


def pressure(signal: Signal, value: float) -> float:
    return max(LOWEST_PRESSURE, value / setpoint(signal))


def counts(signal: Signal, reading: Reading | None, now: float) -> bool:
    """Whether a reading says how the back end is now.

    Nothing to brake for is an answer too, but what steers is never undefined while it lives: idle is none there.
    """
    if reading is None or now - reading.at > signal.stale_seconds:
        return False
    return reading.value is not None or (reading.outcome == "idle" and signal.kind != "Utilisation")


def is_lost(signal: Signal, last: float, now: float) -> bool:
    """Whether it is so long ago that it counted that nothing is known any more."""
    return now - last > max(DARK_SECONDS, signal.stale_seconds)
