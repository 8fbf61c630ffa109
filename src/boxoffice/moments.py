"""A sale moment by moment, from its samples: few enough to be drawn, however long it went on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from boxoffice import salereport as told
from boxoffice.samples import Sample
from boxoffice.times import rfc3339

STEPS_SECONDS = (10, 60, 300, 900, 3600, 6 * 3600)
MOST_MOMENTS = 400


def pace_of(line: Sequence[Sample]) -> told.Pace | None:
    if len(line) < 2:
        return None
    span = (line[-1].at_ms - line[0].at_ms) // 1000
    step = next((s for s in STEPS_SECONDS if span // s < MOST_MOMENTS), STEPS_SECONDS[-1])
    moments = list(_moments(line, step * 1000))
    opens = [m for m in moments if m.called_per_minute > 0 and m.inside_target > 0]
    share = sum(m.inside / m.inside_target for m in opens) / len(opens) if opens else None
    return told.Pace(
        step_seconds=step,
        most_called_per_minute=max(m.called_per_minute for m in moments),
        mean_inside_percent_of_target=None if share is None else round(100 * share, 1),
        moments=moments,
    )


def _moments(line: Sequence[Sample], step_ms: int) -> Iterator[told.Moment]:
    """The last sample of each step stands for it; a step without any is left out."""
    steps = [list(group)[-1] for _, group in itertools.groupby(line[1:], lambda sample: sample.at_ms // step_ms)]
    yield _moment(line[0], line[0])
    for before, sample in itertools.pairwise([line[0], *steps]):
        yield _moment(before, sample)


def _moment(before: Sample, sample: Sample) -> told.Moment:
    minutes = (sample.at_ms - before.at_ms) / 60_000
    return told.Moment(
        at=rfc3339(sample.at_ms),
        waiting=sample.waiting,
        called=sample.called,
        inside=sample.active,
        inside_target=sample.target,
        held_seats=sample.held,
        sold_seats=sample.sold,
        joined_per_minute=_rate(sample.issued - before.issued, minutes),
        called_per_minute=_rate(sample.called - before.called, minutes),
        asked_per_minute=sample.per_minute,
    )


def _rate(count: int, minutes: float) -> float:
    return round(count / minutes, 1) if minutes else 0.0
