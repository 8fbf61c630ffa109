"""A sale's report from what the ledger has of it: worked out by hand, and for sums that must always agree."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from boxoffice.aftermath import Aftermath, Buyers, Deed, Outcome, Sold
from boxoffice.moments import MOST_MOMENTS, pace_of
from boxoffice.reckoning import histogram, holds_made, increase, reckon, silences, sold_out_ms
from boxoffice.recovery import NUMBER_MARGIN
from boxoffice.sale import parse_sale
from boxoffice.salerecords import SaleRecord
from boxoffice.samples import SLOT_MS, Sample
from boxoffice.times import rfc3339
from boxoffice.waits import Piece, Spread
from tests.integration.house import SALE, resource

OPENED = 1_800_000_000_000
"""In 2027."""
UID = "5" * 32


def sample(at_ms: int, **values: Any) -> Sample:
    none: dict[str, Any] = dict.fromkeys(Sample.__struct_fields__, 0)
    fixed = {"sale_uid": UID, "stage": "open", "policy": "Open", "target": 20, "slot": at_ms // SLOT_MS}
    return Sample(**{**none, **fixed, "at_ms": at_ms, **values})


def record(**changes: Any) -> SaleRecord:
    opens = datetime.fromtimestamp(OPENED / 1000, UTC)
    times: dict[str, Any] = {
        "preQueueTime": opens - timedelta(minutes=10),
        "opensTime": opens,
        "closesTime": opens + timedelta(hours=1),
    }
    sections = [
        {"name": "front", "rows": 1, "seatsPerRow": 4, "priceMinor": 900},
        {"name": "floor", "capacity": 6, "priceMinor": 500},
    ]
    document = resource(seating={"sections": sections}, **times)
    spec = msgspec.json.encode(parse_sale(msgspec.json.encode(document)).spec).decode()
    known = SaleRecord(UID, SALE, "d" * 64, 10, spec, OPENED - 900_000, OPENED, None)
    return msgspec.structs.replace(known, **changes)


def night(**changes: Any) -> Aftermath:
    """Ten seats, forty buyers; eight are called in the first ten seconds, twelve in the next."""
    values: dict[str, Any] = {
        "sale": record(),
        "samples": [
            sample(OPENED, issued=40, waiting=40),
            sample(OPENED + 10_000, issued=40, waiting=32, called=8, active=6, claims=6, holds=5, held=3, sold=2),
            sample(OPENED + 20_000, issued=40, waiting=20, called=20, active=9, claims=15, holds=11, sold=9, lapses=2),
        ],
        "outcomes": [
            Outcome("paid", "", 6, 9, 6500),
            Outcome("refunded", "", 1, 2, 1000),
            Outcome("declined", "no", 2, 3, 0),
        ],
        "sold": [Sold(2, OPENED + 1000 * i, OPENED + 1000 * i + 500, None) for i in range(1, 5)]
        + [Sold(1, OPENED + 6000, OPENED + 7000, None), Sold(2, OPENED + 100, OPENED + 900, OPENED + 15_000)],
        "seats": [0, 1, 2, 3, 4, 5, 6, 7, 8],
        "buyers": Buyers(6, 2),
        "owing": 0,
        "letters": {},
        "deeds": [Deed(OPENED + 12_000, "the night shift", "hold", "a <slow> ledger")],
    }
    return Aftermath(**{**values, **changes})


def test_a_night_worked_out_by_hand() -> None:
    found = reckon(night(), OPENED + 25_000)
    assert (found.state, found.seats, found.seats_sold, found.erased) == ("open", 10, 9, False)
    assert [(s.name, s.sold, s.revenue_minor) for s in found.sections] == [("front", 4, 3600), ("floor", 5, 2500)]
    assert (found.money.currency, found.money.revenue_minor, found.money.refunded_minor) == ("KRW", 6500, 1000)
    assert (found.times.sold_out, found.seconds_to_sell_out) == (rfc3339(OPENED + 4500), 4.5)
    c = found.conversions
    assert (c.joined, c.called, c.came, c.lapsed, c.holds, c.orders, c.paid) == (40, 20, 15, 2, 11, 9, 6)
    assert (c.came_percent_of_called, c.paid_percent_of_came) == (75.0, 40.0)
    assert found.fairness.lapsed_percent_of_called == 10.0
    assert (found.fairness.inversions, found.fairness.buyers, found.fairness.most_seats_of_one_buyer) == (0, 6, 2)
    assert found.settling is not None
    assert (found.settling.p50_seconds, found.settling.longest_seconds) == (0.5, 1.0)


def test_waits_are_told_from_joining_and_from_the_opening() -> None:
    waiting = reckon(night(), OPENED + 25_000).waiting
    assert waiting is not None
    opening, joining = waiting.since_opening, waiting.since_joining
    assert opening is not None
    assert joining is not None
    assert (waiting.longest_line, opening.numbers, opening.longest_seconds) == (40, 20, 20.0)
    assert opening.p50_seconds == pytest.approx(10 + 10 * 2 / 12, abs=0.1)
    assert joining.longest_seconds == pytest.approx(600, abs=1)
    assert sum(b.numbers for b in waiting.histogram_since_opening) == 20


def test_the_pace_is_told_by_the_minute() -> None:
    pace = reckon(night(), OPENED + 25_000).pace
    assert pace is not None
    assert [(m.called_per_minute, m.inside, m.inside_target) for m in pace.moments] == [
        (0, 0, 20),
        (48, 6, 20),
        (72, 9, 20),
    ]
    assert (pace.step_seconds, pace.most_called_per_minute, pace.mean_inside_percent_of_target) == (10, 72, 37.5)


@pytest.mark.parametrize(
    ("changes", "at_ms", "state"),
    [
        ({"opened_ms": None}, OPENED - 700_000, "scheduled"),
        ({"opened_ms": None}, OPENED - 300_000, "prequeue"),
        ({}, OPENED + 60_000, "open"),
        ({}, OPENED + 3_600_000, "closed"),
        ({"dropped_ms": OPENED + 70_000}, OPENED + 80_000, "archived"),
        ({"archived_ms": OPENED + 70_000}, OPENED + 80_000, "archived"),
    ],
)
def test_says_how_far_the_sale_is(changes: dict[str, Any], at_ms: int, state: str) -> None:
    assert reckon(night(sale=record(**changes), samples=[]), at_ms).state == state


def test_an_override_that_closed_it_is_seen_in_the_samples() -> None:
    closed = sample(OPENED + 30_000, stage="closed", policy="Closed", called=20, issued=40)
    found = reckon(night(samples=[*night().samples, closed]), OPENED + 60_000)
    assert found.state == "closed"
    assert [(p.at, p.policy) for p in found.policies] == [
        (rfc3339(OPENED), "Open"),
        (rfc3339(OPENED + 30_000), "Closed"),
    ]
    assert found.faults.silences == []


def test_without_samples_the_ledgers_own_sums_stand() -> None:
    found = reckon(night(samples=[]), OPENED)
    assert (found.waiting, found.pace, found.seats_sold, found.conversions.paid) == (None, None, 9, 6)
    assert found.conversions.came_percent_of_called is None


def test_a_sale_in_which_nothing_happened() -> None:
    empty = night(samples=[sample(OPENED)], outcomes=[], sold=[], seats=[], buyers=None)
    found = reckon(empty, OPENED)
    assert found.waiting is not None
    assert (found.waiting.since_opening, found.settling, found.seconds_to_sell_out) == (None, None, None)


def test_a_rebuilt_redis_is_a_fault_and_no_crowd() -> None:
    first, second, third = night().samples
    rebuilt = {"recovered_ms": OPENED + 9_000}
    later = [
        msgspec.structs.replace(s, issued=s.issued + NUMBER_MARGIN, holds=OPENED + n, **rebuilt)
        for n, s in enumerate((second, third))
    ]
    found = reckon(night(samples=[first, *later]), OPENED + 25_000)
    assert found.faults.recoveries == [rfc3339(OPENED + 9_000)]
    assert (found.conversions.joined, found.conversions.called, found.conversions.holds) == (40, 20, 1)


def test_a_counter_that_goes_back_is_an_inversion() -> None:
    first, second, third = night().samples
    assert (
        reckon(
            night(samples=[first, third, msgspec.structs.replace(second, slot=third.slot + 1)]), OPENED
        ).fairness.inversions
        == 1
    )


def test_a_seat_that_was_paid_back_does_not_sell_out() -> None:
    sold = [Sold(6, 0, 10, None), Sold(3, 0, 20, 25), Sold(3, 0, 30, None)]
    assert sold_out_ms(sold, 10) is None
    assert sold_out_ms([*sold, Sold(1, 0, 40, None)], 10) == 40
    assert sold_out_ms([], 10) is None


def test_silence_is_from_sample_to_sample_and_to_the_end() -> None:
    quiet = SLOT_MS * 10
    line = [sample(OPENED), sample(OPENED + SLOT_MS), sample(OPENED + quiet), sample(OPENED + quiet + 1)]
    assert list(silences(line, OPENED + quiet + SLOT_MS)) == [(OPENED + SLOT_MS, OPENED + quiet)]
    assert list(silences(line, OPENED + 9 * quiet))[1:] == [(OPENED + quiet + 1, OPENED + 9 * quiet)]
    assert list(silences([], OPENED)) == []


@given(st.lists(st.integers(0, 1000), max_size=30))
def test_a_counter_that_only_rises_rose_by_its_last_value(steps: list[int]) -> None:
    total, line = 0, []
    for i, by in enumerate(steps):
        total += by
        line.append(sample(OPENED + i * SLOT_MS, lapses=total, holds=total))
    assert increase(line, lambda s: s.lapses) == holds_made(line) == total


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.integers(0, 19))
def test_a_wipe_takes_nothing_back(steps: list[int], at: int) -> None:
    line, total = [], 0
    for i, by in enumerate(steps):
        total = by if i == at else total + by
        line.append(sample(OPENED + i * SLOT_MS, lapses=total))
    found = increase(line, lambda s: s.lapses)
    assert line[-1].lapses <= found <= sum(steps)


WAITS = st.lists(st.tuples(st.floats(0, 5e6), st.floats(0, 5e6), st.integers(1, 10_000)), max_size=20)


@given(WAITS)
def test_the_histogram_has_everybody_once(raw: list[tuple[float, float, int]]) -> None:
    spread = Spread(Piece(min(a, b), max(a, b), n) for a, b, n in raw)
    bins = histogram(spread)
    assert sum(b.numbers for b in bins) == round(spread.total)
    assert all(a.to_seconds == b.from_seconds for a, b in itertools.pairwise(bins))
    assert not bins or bins[-1].to_seconds * 1000 >= spread.longest


@given(st.lists(st.integers(1, 3 * 3600), min_size=1, max_size=60))
def test_a_long_sale_is_told_in_few_moments(gaps: list[int]) -> None:
    at, line = OPENED, [sample(OPENED)]
    for seconds in gaps:
        at += seconds * 1000
        line.append(sample(at, called=line[-1].called + seconds, issued=10**6))
    pace = pace_of(line)
    assert pace is not None
    assert len(pace.moments) <= MOST_MOMENTS + 2
    assert pace.moments[-1].called == sum(gaps)
    assert all(m.called_per_minute == pytest.approx(60, abs=1) for m in pace.moments[1:])
