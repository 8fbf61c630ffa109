"""How long the line was, in time: from samples of its two counters to the wait of every number.

Number n joined when `issued` passed n, and was called when `called` passed n; between two samples both are taken to
rise evenly, so a wait is right to within a sample's distance.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from boxoffice.recovery import NUMBER_MARGIN
from boxoffice.samples import Sample


@dataclass(frozen=True, slots=True)
class Stretch:
    """The numbers in (first, last], passed evenly between two moments (Unix ms)."""

    first: float
    last: float
    begin_ms: float
    end_ms: float

    def at(self, number: float) -> float:
        share = (number - self.first) / (self.last - self.first)
        return self.begin_ms + (self.end_ms - self.begin_ms) * share

    def not_before(self, ms: float) -> Stretch:
        return Stretch(self.first, self.last, max(ms, self.begin_ms), max(ms, self.end_ms))


def dense(samples: Sequence[Sample]) -> list[Sample]:
    """With the numbers that a rebuilt Redis skipped taken out: those were nobody's."""
    gaps = [
        (a.issued, min(a.issued + NUMBER_MARGIN, b.issued))
        for a, b in itertools.pairwise(samples)
        if a.recovered_ms != b.recovered_ms
    ]

    def somebodys(number: int) -> int:
        return number - sum(max(0, min(number, end) - begin) for begin, end in gaps)

    return [
        msgspec.structs.replace(
            sample, issued=somebodys(sample.issued), called=somebodys(sample.called), lapsed=somebodys(sample.lapsed)
        )
        for sample in samples
    ]


def joined(samples: Sequence[Sample], begin_ms: int) -> list[Stretch]:
    """Who joined when; the first sample's from `begin_ms` on."""
    return _stretches([(begin_ms, 0), *((sample.at_ms, sample.issued) for sample in samples)])


def called(samples: Sequence[Sample], opened_ms: int) -> list[Stretch]:
    return _stretches([(opened_ms, 0), *((sample.at_ms, sample.called) for sample in samples)])


def _stretches(points: Sequence[tuple[int, int]]) -> list[Stretch]:
    return [
        Stretch(first, last, min(begin_ms, end_ms), end_ms)
        for (begin_ms, first), (end_ms, last) in itertools.pairwise(points)
        if last > first
    ]


@dataclass(frozen=True, slots=True)
class Piece:
    """So many waits, spread evenly between the shortest and the longest of them (ms)."""

    shortest: float
    longest: float
    numbers: float


def waits(joins: Sequence[Stretch], calls: Sequence[Stretch]) -> Iterator[Piece]:
    """Of every number that joined and was called. Both are in order of their numbers."""
    i = j = 0
    while i < len(joins) and j < len(calls):
        join, call = joins[i], calls[j]
        first, last = max(join.first, call.first), min(join.last, call.last)
        if first < last:
            ends = sorted(max(0.0, call.at(n) - join.at(n)) for n in (first, last))
            yield Piece(ends[0], ends[1], last - first)
        i += join.last <= call.last
        j += call.last <= join.last


POINT_MS = 0.001
"""Waits that are no further apart are one: a density over less is no number any more."""


class Spread:
    """How waits are spread: how many are no longer than, and how long all but the longest few per cent are."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        slopes: dict[float, float] = defaultdict(float)
        lumps: dict[float, float] = defaultdict(float)
        for piece in pieces:
            width = piece.longest - piece.shortest
            if width >= POINT_MS:
                slopes[piece.shortest] += piece.numbers / width
                slopes[piece.longest] -= piece.numbers / width
            else:
                lumps[piece.shortest] += piece.numbers
        self._at: list[float] = []
        self._below: list[float] = []
        below = slope = before = 0.0
        for at in sorted(slopes.keys() | lumps.keys()):
            below = max(below, below + slope * (at - before))
            self._add(at, below)
            if at in lumps:
                below += lumps[at]
                self._add(at, below)
            slope, before = slope + slopes.get(at, 0.0), at

    def _add(self, at: float, below: float) -> None:
        self._at.append(at)
        self._below.append(below)

    @property
    def total(self) -> float:
        return self._below[-1] if self._below else 0.0

    @property
    def longest(self) -> float:
        return self._at[-1] if self._at else 0.0

    def up_to(self, ms: float) -> float:
        """How many waited so long at most."""
        i = bisect_right(self._at, ms)
        if i == 0:
            return 0.0
        if i == len(self._at):
            return self.total
        width = self._at[i] - self._at[i - 1]
        return self._below[i - 1] + (self._below[i] - self._below[i - 1]) * ((ms - self._at[i - 1]) / width)

    def percentile(self, percent: float) -> float:
        """The wait that so many per cent do not exceed (ms); 0 of nothing."""
        wanted = self.total * percent / 100
        i = bisect_left(self._below, wanted)
        if i >= len(self._at):
            return self.longest
        if i == 0 or self._below[i] == self._below[i - 1]:
            return self._at[i]
        share = (wanted - self._below[i - 1]) / (self._below[i] - self._below[i - 1])
        return self._at[i - 1] + (self._at[i] - self._at[i - 1]) * share
