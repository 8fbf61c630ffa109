"""What is kept of a night, and what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev

import msgspec

from boxoffice.decisionlog import Entry

STEP_SECONDS = 5
STEADY_SECONDS = 60
"""The end of a stretch counts as steady."""
NEAR = 0.10


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """A row: so many fit on a screen."""

    at: int
    inside: int
    target: int
    per_minute: int
    use: float
    """Of MySQL's cores, as the signal says it."""
    seconds_to_ticket: float | None
    """Of the last 15 seconds' buyers, from paying."""


class Decided(msgspec.Struct, frozen=True, array_like=True):
    at: float
    target: int
    limited_by: str
    reason: str


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    mode: str
    seed: int
    show: float
    cores: float
    setpoint: float
    slow: float
    well: float
    samples: list[Sample]
    decisions: list[Decided]
    explained: str
    """By `kubectl sale explain` in the middle of the slow time."""
    problems: list[str]


class Stretch(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Of a night: until MySQL is slow, while it is, and after."""

    per_minute: int
    """Of its steady end, as all but the first two."""
    use_of_setpoint: float
    settling_seconds: float | None
    """Until inside is where it is at the end, but for a tenth, and stays there. None: never."""
    most_inside: float
    """By the steady one."""
    variation: float
    """Of the target."""
    inside_by_target: float
    seconds_over: int
    """With the setpoint exceeded by more than a tenth."""
    seconds_to_ticket: float | None
    limited_by: list[str]


def decisions(lines: Sequence[bytes], opened: float) -> list[Decided]:
    entries = [msgspec.json.decode(line, type=Entry) for line in lines]
    return [
        Decided(round(e.now - opened, 1), e.decision.active_target, e.decision.limited_by, e.decision.reason)
        for e in entries
        if e.load.state == "open"
    ]


def stretches(record: Record) -> dict[str, Stretch]:
    times = {"well": (0.0, record.slow), "slow": (record.slow, record.well), "well again": (record.well, 1e9)}
    return {name: _stretch(record, *of) for name, of in times.items()}


def _stretch(record: Record, begin: float, end: float) -> Stretch:
    samples = [s for s in record.samples if begin < s.at <= end]
    steady = samples[-STEADY_SECONDS // STEP_SECONDS :]
    inside, tickets = fmean(s.inside for s in steady), [s.seconds_to_ticket for s in steady if s.seconds_to_ticket]
    away = [s.at for s in samples if abs(s.inside / inside - 1) > NEAR]
    settled = (away[-1] if away else begin) + STEP_SECONDS - begin
    targets = [s.target for s in steady]
    return Stretch(
        per_minute=round(fmean(s.per_minute for s in steady)),
        use_of_setpoint=round(fmean(s.use for s in steady) / record.setpoint, 3),
        settling_seconds=settled if samples[-1].at > settled + begin else None,
        most_inside=round(max(s.inside for s in samples) / inside, 3),
        variation=round(pstdev(targets) / fmean(targets), 4),
        inside_by_target=round(fmean(s.inside / s.target for s in steady), 3),
        seconds_over=STEP_SECONDS * sum(s.use > (1 + NEAR) * record.setpoint for s in samples),
        seconds_to_ticket=round(fmean(tickets), 2) if tickets else None,
        limited_by=sorted({d.limited_by for d in record.decisions if begin < d.at <= end}),
    )
