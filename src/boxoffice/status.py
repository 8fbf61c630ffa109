"""The status of a `ConcertSale`: what the operator saw last. Slow on purpose; what moves fast is in the metrics."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

ConditionType = Literal[
    "Ready", "Admitting", "SignalsFresh", "LedgerHealthy", "SoldOut", "Overridden", "Degraded", "Prescaled"
]
SignalState = Literal["Fresh", "Idle", "Stale", "Lost"]

MOST_DECISIONS = 10
MOST_THOUSANDTHS = 2_000_000_000

_Count = Annotated[int, Meta(ge=0)]
_Time = Annotated[datetime, Meta(tz=True)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A part of the status."""


class Condition(_Part, frozen=True, kw_only=True):
    """One thing that is so, or not, or not known; as Kubernetes has them everywhere."""

    type: ConditionType
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Meta(pattern="^[A-Z][A-Za-z0-9]*$", max_length=64)]
    message: Annotated[str, Meta(max_length=1024)]
    last_transition_time: _Time
    observed_generation: _Count = 0


# A merge patch leaves what it does not name, within a part too: what is 0 now is written in these two.
class AdmissionStatus(_Part, frozen=True, kw_only=True, omit_defaults=False):
    """The pace, and why it is what it is."""

    active: Annotated[int, Meta(ge=0, description="Buyers inside, those with an unsettled order included.")] = 0
    active_target: Annotated[int, Meta(ge=0, description="Buyers that should be inside.")] = 0
    per_minute: Annotated[int, Meta(ge=0, description="Calls a minute, as measured.")] = 0
    limited_by: Annotated[str, Meta(max_length=64, description="What keeps the pace from being higher.")] = ""
    reason: Annotated[str, Meta(max_length=1024, description="The last decision, in words.")] = ""


class SignalStatus(_Part, frozen=True, kw_only=True):
    """A signal as the last decision had it; numbers in thousandths, as in the spec."""

    name: Annotated[str, Meta(max_length=63)]
    kind: Annotated[str, Meta(max_length=16)]
    value: Annotated[int, Meta(ge=0, le=MOST_THOUSANDTHS, description="In thousandths of the query's unit.")] | None = (
        None
    )
    setpoint: Annotated[int, Meta(ge=0, le=MOST_THOUSANDTHS, description="As the spec has it.")]
    pressure: (
        Annotated[int, Meta(ge=0, le=MOST_THOUSANDTHS, description="Measured by setpoint: 1000 is at its setpoint.")]
        | None
    ) = None
    state: Annotated[
        SignalState,
        Meta(description="Idle: nothing to measure. Stale: no number now. Lost: none for two minutes."),
    ]
    message: Annotated[str, Meta(max_length=300, description="Why there is no number.")] = ""


class DecisionStatus(_Part, frozen=True, kw_only=True):
    """A decision that said something new."""

    time: _Time
    active_target: Annotated[int, Meta(ge=0, description="Buyers that should be inside.")]
    limited_by: Annotated[str, Meta(max_length=64, description="What kept the pace from being higher.")]
    reason: Annotated[str, Meta(max_length=300, description="Why, in words.")]


class Seats(_Part, frozen=True, kw_only=True, omit_defaults=False):
    """`held`: chosen or being paid."""

    total: _Count = 0
    held: _Count = 0
    sold: _Count = 0


class DrawStatus(_Part, frozen=True, kw_only=True):
    """`commitment` before the first join, `seed` after the draw: anyone can check it."""

    commitment: Annotated[str, Meta(max_length=64)] = ""
    seed: Annotated[str, Meta(max_length=64)] = ""


class Status(_Part, frozen=True, kw_only=True):
    """The sale as it was seen last."""

    observed_generation: _Count = 0
    uid: Annotated[str, Meta(max_length=32, description="Fixed at the first opening and kept in the ledger.")] = ""
    opened_time: Annotated[_Time, Meta(description="From here the seating is fixed.")] | None = None
    admission: AdmissionStatus = AdmissionStatus()
    seats: Seats = Seats()
    waiting: Annotated[int, Meta(ge=0, description="Places that were not called yet.")] = 0
    draw: DrawStatus = DrawStatus()
    last_decision_time: _Time | None = None
    signals: Annotated[list[SignalStatus], Meta(max_length=20, description="As the last decision had them.")] = []
    decisions: Annotated[
        list[DecisionStatus],
        Meta(max_length=MOST_DECISIONS, description="The last that changed the target or what limits it."),
    ] = []
    conditions: Annotated[list[Condition], Meta(max_length=16)] = []
