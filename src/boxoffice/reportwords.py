"""The report of a sale in words: rows for the page and for the terminal."""

from __future__ import annotations

from boxoffice.salereport import SaleReport, Waits

Row = tuple[str, ...]


def amount(minor: int) -> str:
    return f"{minor:,}"


def percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} %"


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `1 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds % 1 else f"{seconds:.0f} s"
    whole = round(seconds)
    larger, smaller = (
        (f"{whole // 3600} h", whole % 3600 // 60) if whole >= 3600 else (f"{whole // 60} min", whole % 60)
    )
    return f"{larger} {smaller} {'min' if whole >= 3600 else 's'}" if smaller else larger


def sums(report: SaleReport) -> list[tuple[str, str]]:
    """What everybody asks first."""
    sold_out = report.seconds_to_sell_out
    wait = report.waiting.since_opening if report.waiting else None
    return [
        ("seats sold", f"{report.seats_sold:,} of {report.seats:,}"),
        ("sold out", "no" if sold_out is None else f"after {duration(sold_out)}"),
        ("revenue", f"{amount(report.money.revenue_minor)} minor units of {report.money.currency}"),
        ("paid back", f"{amount(report.money.refunded_minor)} minor units"),
        ("joined", f"{report.conversions.joined:,}"),
        ("longest line", "unknown" if report.waiting is None else f"{report.waiting.longest_line:,}"),
        ("half waited at most", "nobody called" if wait is None else duration(wait.p50_seconds)),
        ("99 % waited at most", "nobody called" if wait is None else duration(wait.p99_seconds)),
        ("called out of order", f"{report.fairness.inversions:,}"),
    ]


def waits(report: SaleReport) -> list[Row]:
    if report.waiting is None:
        return [("waits", "unknown: no samples were taken")]
    known = report.waiting
    rows = [("since the opening", known.since_opening), ("since joining", known.since_joining)]
    return [(f"waits {name}", _waits(found)) for name, found in rows]


def _waits(found: Waits | None) -> str:
    if found is None:
        return "nobody was called"
    known = (("p50", found.p50_seconds), ("p90", found.p90_seconds), ("p99", found.p99_seconds))
    return ", ".join(f"{name} {duration(s)}" for name, s in (*known, ("longest", found.longest_seconds)))


def conversions(report: SaleReport) -> list[Row]:
    c, fair = report.conversions, report.fairness
    buyers = "erased" if report.erased else "none" if fair.buyers is None else f"{fair.buyers:,}"
    most = "erased" if report.erased else f"{fair.most_seats_of_one_buyer or 0} of {fair.seats_allowed_each} allowed"
    return [
        ("joined the line", f"{c.joined:,}"),
        ("called", f"{c.called:,}"),
        ("came when called", f"{c.came:,} ({percent(c.came_percent_of_called)} of the called)"),
        ("called and did not come", f"{c.lapsed:,} ({percent(fair.lapsed_percent_of_called)} of the called)"),
        ("holds", f"{c.holds:,}, of which ran out: {c.holds_expired:,}"),
        ("visits that ran out", f"{c.visits_expired:,}"),
        ("tries for seats that were just taken", f"{c.contested:,}"),
        ("orders", f"{c.orders:,}"),
        ("paid orders that stand", f"{c.paid:,} ({percent(c.paid_percent_of_came)} of who came)"),
        ("buyers with a ticket", buyers),
        ("most seats of one buyer", most),
        *([("from order to ticket", _settling(report))] if report.settling else []),
    ]


def _settling(report: SaleReport) -> str:
    assert report.settling
    s = report.settling
    return f"p50 {duration(s.p50_seconds)}, p99 {duration(s.p99_seconds)}, longest {duration(s.longest_seconds)}"


def faults(report: SaleReport) -> list[Row]:
    f = report.faults
    letters = ", ".join(f"{count} {state}" for state, count in sorted(f.dead_letters.items()))
    silent = sum(silence.seconds for silence in f.silences)
    return [
        ("Redis was rebuilt", _times(len(f.recoveries))),
        ("without samples: Redis, ledger or settlement away", f"{_times(len(f.silences))}, {duration(silent)} in all"),
        ("dead letters", letters or "0"),
        ("orders that are not done yet", f"{f.unfinished_orders:,}"),
    ]


def _times(count: int) -> str:
    return ("never", "once")[count] if count < 2 else f"{count} times"
