"""From what the ledger has of a sale to its report: arithmetic alone, nothing is asked here."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from boxoffice import salereport as told, waits
from boxoffice.aftermath import Aftermath, Outcome, Sold
from boxoffice.moments import pace_of
from boxoffice.sale import to_ms
from boxoffice.samples import SLOT_MS, Sample
from boxoffice.seating import Seating
from boxoffice.spec import Spec, stored_spec
from boxoffice.times import rfc3339

BINS = 20
NICE_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
SILENT_MS = 3 * SLOT_MS
"""Longer than this between two samples: somebody was away."""


def reckon(found: Aftermath, now_ms: int) -> told.SaleReport:
    spec = stored_spec(found.sale.spec)
    seating = Seating.of(spec)
    line = waits.dense(found.samples)
    sold_out = sold_out_ms(found.sold, found.sale.seats_total)
    opened = found.sale.opened_ms
    return told.SaleReport(
        sale=found.sale.name,
        uid=found.sale.uid,
        title=spec.title,
        venue=spec.venue,
        time_zone=spec.time_zone,
        at=rfc3339(now_ms),
        state=_state(found, spec, now_ms),
        erased=any(deed.what == "purge" for deed in found.deeds),
        times=_times(found, spec, sold_out),
        seconds_to_sell_out=None if sold_out is None or opened is None else _seconds(sold_out - opened),
        seats=seating.total,
        seats_sold=len(found.seats),
        sections=_sections(seating, found.seats),
        money=_money(found, spec),
        waiting=_waiting(found, spec, line),
        fairness=_fairness(found, spec),
        conversions=_conversions(found, line),
        pace=pace_of(line),
        outcomes=[
            told.Outcomes(state=o.state, reason=o.reason, orders=o.orders, seats=o.seats) for o in found.outcomes
        ],
        settling=_settling(found.sold),
        faults=_faults(found, _until(found, spec, now_ms)),
        policies=list(_policies(found.samples)),
        deeds=[told.Deed(at=rfc3339(d.at_ms), who=d.who, what=d.what, why=d.why) for d in found.deeds],
    )


def _outcome(o: Outcome) -> told.Outcomes:
    return told.Outcomes(state=o.state, reason=o.reason, orders=o.orders, seats=o.seats)


def _state(found: Aftermath, spec: Spec, now_ms: int) -> told.State:
    sale, last = found.sale, found.samples[-1].stage if found.samples else None
    if sale.dropped_ms is not None or sale.archived_ms is not None:
        return "archived"
    if last == "closed" or spec.policy == "Closed" or now_ms >= to_ms(spec.closes_time):
        return "closed"
    if sale.opened_ms is not None:
        return "open"
    return "prequeue" if now_ms >= _joining_from(spec) else "scheduled"


def _joining_from(spec: Spec) -> int:
    return to_ms(spec.pre_queue_time or spec.opens_time)


def _times(found: Aftermath, spec: Spec, sold_out: int | None) -> told.Times:
    sale, samples = found.sale, found.samples
    return told.Times(
        joining_from=rfc3339(_joining_from(spec)),
        opens=rfc3339(to_ms(spec.opens_time)),
        opened=_time(sale.opened_ms),
        sold_out=_time(sold_out),
        closes=rfc3339(to_ms(spec.closes_time)),
        archived=_time(sale.archived_ms or sale.dropped_ms),
        first_sample=_time(samples[0].at_ms if samples else None),
        last_sample=_time(samples[-1].at_ms if samples else None),
    )


def sold_out_ms(sold: Sequence[Sold], seats: int) -> int | None:
    """When every seat had its ticket for the first time; those paid back are free again."""
    changes = [(s.settled_ms, s.seats) for s in sold]
    changes += [(s.refunded_ms, -s.seats) for s in sold if s.refunded_ms is not None]
    taken = 0
    for at_ms, by in sorted(changes):
        taken += by
        if taken >= seats:
            return at_ms
    return None


def _sections(seating: Seating, seats: Sequence[int]) -> list[told.SectionSums]:
    sold = Counter(seating.section_of(seat).name for seat in seats)
    return [
        told.SectionSums(
            name=s.name,
            seats=s.size,
            sold=sold[s.name],
            price_minor=s.price_minor,
            revenue_minor=sold[s.name] * s.price_minor,
        )
        for s in seating.sections
    ]


def _money(found: Aftermath, spec: Spec) -> told.Money:
    minor = Counter[str]()
    for outcome in found.outcomes:
        minor[outcome.state] += outcome.charged_minor
    return told.Money(currency=spec.currency, revenue_minor=minor["paid"], refunded_minor=minor["refunded"])


def _waiting(found: Aftermath, spec: Spec, line: Sequence[Sample]) -> told.Waiting | None:
    if not line:
        return None
    begin = min(max(_joining_from(spec), found.sale.created_ms), line[0].at_ms)
    opened = found.sale.opened_ms or line[-1].at_ms
    joins, calls = waits.joined(line, begin), waits.called(line, opened)
    since_joining = waits.Spread(waits.waits(joins, calls))
    since_opening = waits.Spread(waits.waits([join.not_before(opened) for join in joins], calls))
    return told.Waiting(
        within_seconds=SLOT_MS // 1000,
        since_joining=_waits(since_joining),
        since_opening=_waits(since_opening),
        histogram_since_opening=histogram(since_opening),
        longest_line=max(sample.waiting for sample in line),
    )


def _waits(spread: waits.Spread) -> told.Waits | None:
    if not spread.total:
        return None
    p50, p90, p99 = (_seconds(spread.percentile(percent)) for percent in (50, 90, 99))
    return told.Waits(
        numbers=round(spread.total),
        p50_seconds=p50,
        p90_seconds=p90,
        p99_seconds=p99,
        longest_seconds=_seconds(spread.longest),
    )


def histogram(spread: waits.Spread) -> list[told.Bin]:
    """Of round width, some twenty of them; together they have everybody."""
    width = next((w for w in NICE_SECONDS if w * 1000 * BINS > spread.longest), NICE_SECONDS[-1])
    edges = [i * width for i in range(int(spread.longest / 1000 / width) + 2)] if spread.total else []
    up_to = [0, *(round(spread.up_to(edge * 1000)) for edge in edges[1:])]
    return [
        told.Bin(from_seconds=a, to_seconds=b, numbers=m - n)
        for (a, b), (n, m) in zip(itertools.pairwise(edges), itertools.pairwise(up_to), strict=False)
    ]


def _fairness(found: Aftermath, spec: Spec) -> told.Fairness:
    calls, lapses = _called(waits.dense(found.samples)), increase(found.samples, lambda sample: sample.lapses)
    return told.Fairness(
        inversions=sum(b.called < a.called or b.issued < a.issued for a, b in itertools.pairwise(found.samples)),
        lapsed_percent_of_called=_percent(lapses, calls),
        buyers=found.buyers.count if found.buyers else None,
        most_seats_of_one_buyer=found.buyers.most_seats if found.buyers else None,
        seats_allowed_each=spec.hold.max_seats_per_buyer,
    )


def _called(line: Sequence[Sample]) -> int:
    return line[-1].called if line else 0


def increase(samples: Sequence[Sample], counter: Callable[[Sample], int]) -> int:
    """By how much a counter rose in all; a Redis that lost its memory began at nothing again."""
    values = [0, *map(counter, samples)]
    return sum(b - a if b >= a else b for a, b in itertools.pairwise(values))


def holds_made(samples: Sequence[Sample]) -> int:
    """Their numbers go on from the clock after a recovery: what it leaps over were none."""
    first = samples[0].holds if samples and not samples[0].recovered_ms else 0
    return first + sum(b.holds - a.holds for a, b in itertools.pairwise(samples) if a.recovered_ms == b.recovered_ms)


def _conversions(found: Aftermath, line: Sequence[Sample]) -> told.Conversions:
    samples, calls = found.samples, _called(line)
    came = increase(samples, lambda sample: sample.claims)
    orders = Counter[str]()
    for outcome in found.outcomes:
        orders[outcome.state] += outcome.orders
    return told.Conversions(
        joined=line[-1].issued if line else 0,
        called=calls,
        came=came,
        lapsed=increase(samples, lambda sample: sample.lapses),
        holds=holds_made(samples),
        holds_expired=increase(samples, lambda sample: sample.expired_holds),
        visits_expired=increase(samples, lambda sample: sample.expired_sessions),
        contested=increase(samples, lambda sample: sample.contested),
        orders=orders.total(),
        paid=orders["paid"],
        came_percent_of_called=_percent(came, calls),
        paid_percent_of_came=_percent(orders["paid"], came),
    )


def _settling(sold: Sequence[Sold]) -> told.Settling | None:
    """Two clocks took these times, Redis' and a settle process': what is less than nothing is nothing."""
    took = sorted(max(0, s.settled_ms - s.placed_ms) for s in sold)
    if not took:
        return None
    return told.Settling(
        p50_seconds=_seconds(took[(len(took) - 1) // 2]),
        p99_seconds=_seconds(took[(len(took) - 1) * 99 // 100]),
        longest_seconds=_seconds(took[-1]),
    )


def _until(found: Aftermath, spec: Spec, now_ms: int) -> int:
    sale = found.sale
    return min(now_ms, to_ms(spec.closes_time), sale.archived_ms or now_ms, sale.dropped_ms or now_ms)


def _faults(found: Aftermath, until_ms: int) -> told.Faults:
    rebuilt = sorted({sample.recovered_ms for sample in found.samples} - {0})
    return told.Faults(
        recoveries=[rfc3339(at_ms) for at_ms in rebuilt],
        silences=[
            told.Silence(begin=rfc3339(begin), end=rfc3339(end), seconds=(end - begin) // 1000)
            for begin, end in silences(found.samples, until_ms)
        ],
        dead_letters=found.letters,
        unfinished_orders=found.owing,
    )


def silences(samples: Sequence[Sample], until_ms: int) -> Iterator[tuple[int, int]]:
    """Between two samples of a sale that was not over, or since the last one until it was."""
    ends = [*(sample.at_ms for sample in samples[1:]), until_ms]
    for sample, end in zip(samples, ends, strict=False):
        if sample.stage != "closed" and end - sample.at_ms > SILENT_MS:
            yield sample.at_ms, end


def _policies(samples: Sequence[Sample]) -> Iterator[told.PolicyChange]:
    for policy, group in itertools.groupby(samples, lambda sample: sample.policy):
        yield told.PolicyChange(at=rfc3339(next(group).at_ms), policy=policy)


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def _seconds(ms: float) -> float:
    return round(ms / 1000, 1)


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None
