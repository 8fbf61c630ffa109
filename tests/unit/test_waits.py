"""The wait of every number, from samples: against each number worked out by itself."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from boxoffice.recovery import NUMBER_MARGIN
from boxoffice.samples import Sample
from boxoffice.waits import Piece, Spread, called, dense, joined, waits

BEGIN = 1_000_000


def sample(at_ms: int, issued: int, called: int, **changes: Any) -> Sample:
    values: dict[str, Any] = dict.fromkeys(Sample.__struct_fields__, 0)
    fixed = {"sale_uid": "5" * 32, "stage": "open", "policy": "Open", "slot": at_ms // 10_000}
    return Sample(**{**values, **fixed, "at_ms": at_ms, "issued": issued, "called": called, **changes})


def spread(samples: Sequence[Sample], begin_ms: int = BEGIN, opened_ms: int = BEGIN) -> Spread:
    return Spread(waits(joined(samples, begin_ms), called(samples, opened_ms)))


def test_a_line_that_moves_evenly() -> None:
    """A hundred join in ten seconds; ten seconds later they are called, within ten."""
    ten = 10_000
    line = [
        sample(BEGIN, 0, 0),
        sample(BEGIN + ten, 100, 0),
        sample(BEGIN + 2 * ten, 100, 0),
        sample(BEGIN + 3 * ten, 100, 100),
    ]
    found = spread(line)
    assert found.total == pytest.approx(100)
    assert [found.percentile(p) for p in (1, 50, 99)] == pytest.approx([2 * ten] * 3)
    assert found.longest == pytest.approx(2 * ten)


def test_who_came_last_waits_longest() -> None:
    """All at once, and called one by one."""
    line = [sample(BEGIN, 0, 0), sample(BEGIN + 1, 100, 0), sample(BEGIN + 100_001, 100, 100)]
    found = spread(line)
    assert [found.percentile(p) for p in (50, 90, 99)] == pytest.approx([50_000, 90_000, 99_000], abs=2)
    assert found.up_to(25_000) == pytest.approx(25, abs=0.01)


def test_the_wait_before_the_opening_is_not_the_sales() -> None:
    line = [sample(BEGIN, 100, 0), sample(BEGIN + 600_000, 100, 0), sample(BEGIN + 610_000, 100, 100)]
    opened = BEGIN + 600_000
    joins = [join.not_before(opened) for join in joined(line, BEGIN - 10_000)]
    found = Spread(waits(joins, called(line, opened)))
    assert found.longest == pytest.approx(10_000)
    assert spread(line, BEGIN - 10_000, opened).percentile(50) > 600_000


def test_numbers_that_a_rebuilt_redis_skipped_were_nobodys() -> None:
    line = [
        sample(BEGIN, 50, 10),
        sample(BEGIN + 10_000, 50 + NUMBER_MARGIN + 30, 10, recovered_ms=BEGIN + 5_000),
        sample(BEGIN + 20_000, 50 + NUMBER_MARGIN + 30, 50 + NUMBER_MARGIN + 30, recovered_ms=BEGIN + 5_000),
    ]
    assert [(s.issued, s.called) for s in dense(line)] == [(50, 10), (80, 10), (80, 80)]
    assert spread(dense(line)).total == pytest.approx(80)


def test_who_was_never_called_has_no_wait() -> None:
    line = [sample(BEGIN, 0, 0), sample(BEGIN + 10_000, 100, 40)]
    assert spread(line).total == pytest.approx(40)


def test_of_nothing_there_is_nothing() -> None:
    for line in ([], [sample(BEGIN, 0, 0)], [sample(BEGIN, 9, 0)]):
        found = spread(line)
        assert (found.total, found.longest, found.percentile(99), found.up_to(1e9)) == (0, 0, 0, 0)


LINES = st.lists(st.tuples(st.integers(1, 60_000), st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=25)


@given(LINES)
def test_as_if_each_number_were_asked(steps: list[tuple[int, int, int]]) -> None:
    line, at, issued, called_up_to = [sample(BEGIN, 0, 0)], BEGIN, 0, 0
    for ms, joins, calls in steps:
        at, issued = at + ms, issued + joins
        called_up_to = min(issued, called_up_to + calls)
        line.append(sample(at, issued, called_up_to))
    each = sorted(_wait(line, number - 0.5) for number in range(1, called_up_to + 1))
    found = spread(line)
    assert found.total == pytest.approx(len(each), abs=1e-6)
    # Each stretch of the line is off by one number at most: half of a number lies below its middle.
    for x in {0.0, *each, *(w + 1 for w in each)}:
        fewer = sum(w < x - 1e-3 for w in each)
        more = sum(w <= x + 1e-3 for w in each)
        assert fewer - len(line) - 1e-6 <= found.up_to(x) <= more + len(line) + 1e-6
    assert found.longest + 1e-3 >= max(each, default=0)


def _wait(line: Sequence[Sample], number: float) -> float:
    return max(0.0, _passed(line, "called", number) - _passed(line, "issued", number))


def _passed(line: Sequence[Sample], counter: str, number: float) -> float:
    for a, b in itertools.pairwise(line):
        low, high = getattr(a, counter), getattr(b, counter)
        if low < number <= high:
            return float(a.at_ms + (b.at_ms - a.at_ms) * (number - low) / (high - low))
    raise AssertionError


PIECES = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 50)), min_size=1, max_size=20)


@given(PIECES, st.floats(0, 100))
def test_percentiles_rise_and_are_the_inverse_of_the_count(raw: list[tuple[int, int, int]], percent: float) -> None:
    found = Spread(Piece(min(a, b), max(a, b), n) for a, b, n in raw)
    assert found.total == pytest.approx(sum(n for _, _, n in raw))
    at = found.percentile(percent)
    assert found.up_to(at + 1e-6) >= found.total * percent / 100 - 1e-3
    assert found.up_to(at - 1e-6) <= found.total * percent / 100 + 1e-3
    assert found.percentile(percent / 2) <= at <= found.longest
