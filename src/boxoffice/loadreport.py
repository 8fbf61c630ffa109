"""What a crowd came to, as `boxoffice load report` tells it: the verdict of all witnesses, and what was on the way.

Times are seconds since the sale was to open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from boxoffice.curves import SERVER_ERRORS, TARGET, Curve
from boxoffice.report import Promise, Report
from boxoffice.salereport import SaleReport, Told
from boxoffice.spec import Signal
from boxoffice.verdict import judge, percentile
from boxoffice.witnesses import Evidence, Story

MOST_MOMENTS = 60
WATCHED = ("whereabouts", "hold", "order")
"""What a buyer feels: the poll of those who wait, and what those inside do."""


class Moment(Told, frozen=True, kw_only=True):
    """The crowd at the end of a step; `answers`: the p95 in ms of what was answered in it, by name."""

    at: float
    waiting: int
    called: int
    """In all so far."""
    paid: int
    """Orders, in all so far."""
    answers: dict[str, float]


class Usage(Told, frozen=True, kw_only=True):
    """A signal on the way; `over_setpoint`: the share of the points that were above it."""

    name: str
    setpoint: float
    most: float
    mean: float
    over_setpoint: float
    points: Curve


class LoadReport(Told, frozen=True, kw_only=True):
    schema: int = 1
    sale: str
    crowd: str
    at: str
    buyers: int
    seats: int
    kept: bool
    verdict: Report
    hostile: dict[str, int]
    """By what they did: how often they were refused."""
    moments: list[Moment]
    usage: list[Usage]
    target: Curve
    """How many should be inside."""
    night: SaleReport | None
    """As `boxoffice report` has it."""


def load_report(
    evidence: Evidence,
    sale: str,
    at: str,
    night: SaleReport | None,
    signals: Sequence[Signal],
    curves: Mapping[str, Curve] | None,
) -> LoadReport:
    """`curves`: None when nobody asked Prometheus."""
    verdict = judge(evidence)
    if curves is not None:
        verdict.promises.append(metrics(curves))
    since = {name: _since(curve, evidence.opened_ms / 1000) for name, curve in (curves or {}).items()}
    return LoadReport(
        sale=sale,
        crowd=evidence.crowd,
        at=at,
        buyers=evidence.buyers,
        seats=evidence.seats,
        kept=verdict.kept,
        verdict=verdict,
        hostile=refused(evidence.stories),
        moments=moments(evidence.stories, evidence.opened_ms),
        usage=[usage(signal, since[signal.name]) for signal in signals if since.get(signal.name)],
        target=since.get(TARGET, []),
        night=night,
    )


def metrics(curves: Mapping[str, Curve]) -> Promise:
    """What the pods' own count says; where it says nothing, that is no good news."""
    found = curves.get(SERVER_ERRORS, [])
    most = max((value for _, value in found), default=0.0)
    text = f"{most:.0f} within 15 s" if found else "Prometheus has no such series"
    return Promise("the pods count no 5xx", bool(found) and most == 0, text)


def usage(signal: Signal, curve: Curve) -> Usage:
    values, setpoint = [value for _, value in curve], signal.setpoint / 1000
    return Usage(
        name=signal.name,
        setpoint=setpoint,
        most=round(max(values), 4),
        mean=round(sum(values) / len(values), 4),
        over_setpoint=round(sum(value > setpoint for value in values) / len(values), 3),
        points=curve,
    )


def refused(stories: Sequence[Story]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for story in stories:
        if "hostile" in story.plan:
            counts[story.plan[-1]] = counts.get(story.plan[-1], 0) + story.refused
    return counts


def moments(stories: Sequence[Story], opened_ms: int) -> list[Moment]:
    """From the first who came to the last who left."""
    told = [story for story in stories if story.began_at_ms and story.ended_at_ms]
    if not told:
        return []
    first, last = min(story.began_at_ms for story in told), max(story.ended_at_ms for story in told)
    step = max(1000, -(-(last - first) // MOST_MOMENTS))
    answers = _answers(told, first, step)
    return [
        _moment(told, answers.get(number, {}), first + (number + 1) * step, opened_ms)
        for number in range(-(-(last - first) // step) or 1)
    ]


def _moment(told: Sequence[Story], answers: Mapping[str, list[float]], at_ms: int, opened_ms: int) -> Moment:
    arrived = sum(story.began_at_ms <= at_ms for story in told)
    called = sum(0 < story.called_at_ms <= at_ms for story in told)
    gone = sum(not story.called_at_ms and story.ended_at_ms <= at_ms for story in told)
    paid = sum(order.state == "paid" and story.ended_at_ms <= at_ms for story in told for order in story.orders)
    return Moment(
        at=round((at_ms - opened_ms) / 1000, 1),
        waiting=arrived - called - gone,
        called=called,
        paid=paid,
        answers={name: percentile(values, 95) for name, values in answers.items()},
    )


def _answers(told: Sequence[Story], first_ms: int, step_ms: int) -> dict[int, dict[str, list[float]]]:
    """Their ms, by step of the time and name."""
    found: dict[int, dict[str, list[float]]] = {}
    for story in told:
        for step in story.steps:
            if step.name in WATCHED:
                number = (story.began_at_ms + step.after_ms - first_ms) // step_ms
                found.setdefault(number, {}).setdefault(step.name, []).append(step.ms)
    return found


def _since(curve: Curve, opened: float) -> Curve:
    return [(round(at - opened, 1), round(value, 4)) for at, value in curve]


def to_json(found: LoadReport) -> bytes:
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
