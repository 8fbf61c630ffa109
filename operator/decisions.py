"""What was decided by signals, in the words of a sale's status: every signal as seen, and the decisions of late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from boxoffice.control import Decision
from boxoffice.readings import Reading
from boxoffice.spec import Signal
from boxoffice.status import (
    MOST_DECISIONS,
    MOST_THOUSANDTHS,
    DecisionStatus,
    SignalState,
    SignalStatus,
    Status,
)
from facts import Steered

MOST_REASON = 300
SIGNALS_SECONDS = 60.0
"""Between two writes when all that is new are the signals' numbers."""
NEVER = datetime.fromtimestamp(0, UTC)


def signals_of(steered: Steered, signals: Sequence[Signal]) -> list[SignalStatus]:
    readings = {reading.name: reading for reading in steered.readings}
    return [_signal(signal, readings.get(signal.name), steered.decision) for signal in signals]


def _signal(signal: Signal, reading: Reading | None, decision: Decision) -> SignalStatus:
    pressure = decision.pressures.get(signal.name)
    value = None if reading is None or pressure is None else reading.value
    return SignalStatus(
        name=signal.name,
        kind=signal.kind,
        value=None if value is None else _thousandths(value),
        setpoint=signal.setpoint,
        pressure=None if pressure is None else _thousandths(pressure),
        state=_state(signal.name, decision),
        message=reading.message if reading else "",
    )


def _thousandths(value: float) -> int:
    return round(min(MOST_THOUSANDTHS, 1000 * value))


def _state(name: str, decision: Decision) -> SignalState:
    if name in decision.lost:
        return "Lost"
    if name in decision.stale:
        return "Stale"
    return "Fresh" if name in decision.pressures else "Idle"


def reason_of(decision: Decision) -> str:
    return decision.reason if decision.applied else f"advice, not in force: {decision.reason}"


def latest(one: Sequence[DecisionStatus], other: Sequence[DecisionStatus]) -> Sequence[DecisionStatus]:
    """What we remember, or what the status has: another operator may have decided meanwhile."""
    return max(one, other, key=lambda decisions: decisions[-1].time if decisions else NEVER)


def with_this(lately: Sequence[DecisionStatus], decision: Decision) -> list[DecisionStatus]:
    """And this one, when it says something new."""
    if lately and (lately[-1].active_target, lately[-1].limited_by) == (decision.active_target, decision.limited_by):
        return [*lately]
    said = DecisionStatus(
        time=datetime.fromtimestamp(int(decision.at), UTC),
        active_target=decision.active_target,
        limited_by=decision.limited_by,
        reason=reason_of(decision)[:MOST_REASON],
    )
    return [*lately, said][-MOST_DECISIONS:]


def says_more(before: Status, after: Status, seconds: float) -> bool:
    """Whether a status is worth writing, so long after the last: what signals measure is never the same, weeks before
    the opening too."""
    same_but_for_signals = msgspec.structs.replace(after, signals=before.signals) == before
    return after != before and (not same_but_for_signals or seconds >= SIGNALS_SECONDS)
