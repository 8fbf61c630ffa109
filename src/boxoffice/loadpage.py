"""The report of a crowd as one page: the verdict first, then what was on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from boxoffice.loadreport import WATCHED, LoadReport, Moment, Usage
from boxoffice.plots import Plot, Series, lines
from boxoffice.report import table as figures
from boxoffice.reportpage import figure, night_plots, shell, table, tiles
from boxoffice.reportwords import duration

SLUG = str.maketrans({" ": "-", "'": ""})


def page(found: LoadReport) -> str:
    broken = sum(not promise.held for promise in found.verdict.promises)
    verdict = "every promise was kept" if found.kept else f"{broken} promises were broken"
    subtitle = f"{found.buyers:,} buyers of load/{found.crowd}.js, {found.seats:,} seats: {verdict}"
    head = f'<p class="{"soft" if found.kept else "bad"}">{escape(subtitle)}</p>\n{tiles(_sums(found))}'
    footer = escape(f"boxoffice load report {found.sale}, {found.at}.")
    return shell(f"{found.sale}: how the crowd fared", found.sale, head, _parts(found), footer)


def _sums(found: LoadReport) -> list[tuple[str, str]]:
    v = found.verdict
    server_errors = sum(count for status, count in v.http.items() if status.startswith("5") or status == "0")
    return [
        ("seats sold", f"{v.sold:,} of {found.seats:,}"),
        ("oversold", str(v.oversold)),
        ("charged without ticket", str(v.charged_without_ticket)),
        ("called out of order", str(v.inversions)),
        ("5xx, or no answer", str(server_errors)),
        ("found by the audit", str(len(v.differences))),
    ]


def _parts(found: LoadReport) -> Iterator[str]:
    yield "<h2>The verdict</h2>"
    promised = [("kept" if p.held else "BROKEN", p.name, "" if p.held else p.found) for p in found.verdict.promises]
    yield table("What buyers, ledger, gateway and audit say together", ("", "Promise", "Found"), promised)
    yield table("In figures", ("", ""), figures(found.verdict))
    times = [(name, *(f"{p[key]:.1f}" for key in ("p50", "p95", "p99"))) for name, p in found.verdict.steps.items()]
    yield table("How long an answer took, in ms", ("Step", "p50", "p95", "p99"), times)
    if found.hostile:
        refused = [(kind, f"{count:,}") for kind, count in found.hostile.items()]
        yield table("What was refused to those who mean ill", ("Who", "Times"), refused)
    yield from _crowd(found.moments)
    yield from _usage(found)
    if found.night is not None:
        yield from night_plots(found.night)


def _crowd(moments: Sequence[Moment]) -> Iterator[str]:
    if not moments:
        return
    yield "<h2>The crowd, as it tells it</h2>"
    most, last = max(m.waiting for m in moments), moments[-1]
    says = f"At most {most:,} waited; {last.called:,} were called, and {last.paid:,} orders paid."
    yield _over_time("Buyers", says, {name: _line(moments, name) for name in ("waiting", "called", "paid")})
    answers = {name: [(m.at, m.answers[name]) for m in moments if name in m.answers] for name in WATCHED}
    slowest = max((ms for points in answers.values() for _, ms in points), default=0.0)
    says = f"95 of 100 answers of a step of time came within these; {slowest:.0f} ms at most."
    yield _over_time("Answers, ms", says, answers)


def _line(moments: Sequence[Moment], name: str) -> list[tuple[float, float]]:
    return [(m.at, float(getattr(m, name))) for m in moments]


def _usage(found: LoadReport) -> Iterator[str]:
    if found.usage or found.target:
        yield "<h2>The back end, as Prometheus saw it</h2>"
    for usage in found.usage:
        yield _over_time(f"{usage.name}, % of its setpoint", _says(usage), _percent(usage))
    if found.target:
        yield _over_time("Buyers that should be inside", "As it was decided.", {"target": found.target})


def _says(usage: Usage) -> str:
    return (
        f"{usage.most:g} at most and {usage.mean:g} on average, of {usage.setpoint:g}; above it at "
        f"{100 * usage.over_setpoint:.0f} % of the points."
    )


def _percent(usage: Usage) -> dict[str, list[tuple[float, float]]]:
    measured = [(at, 100 * value / usage.setpoint) for at, value in usage.points]
    return {"measured": measured, "setpoint": [(at, 100.0) for at, _ in usage.points]}


def _over_time(title: str, says: str, series: dict[str, list[tuple[float, float]]]) -> str:
    drawn = [Series(label, points) for label, points in series.items()]
    name = title.split(",")[0].lower().translate(SLUG)
    plot = lines(Plot(name=name, title=title, says=says, series=drawn, x_text=_clock))
    return figure(title, f"{says} Time runs from the opening.", plot, list(series)) if plot else ""


def _clock(at: float) -> str:
    return f"-{duration(-at)}" if at < 0 else duration(at)
