"""The report of a sale as one page: nothing to fetch, nothing that runs, for whoever it is passed on to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from html import escape
from importlib import resources
from zoneinfo import ZoneInfo

from boxoffice.plots import Band, Mark, Plot, Series, bars, lines
from boxoffice.reportwords import Row, amount, conversions, duration, faults, percent, sums
from boxoffice.salereport import Moment, SaleReport

MOST_MARKS = 40
MINUTES = 15 * 60
DAYS = 36 * 3600
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: SaleReport) -> str:
    return shell(f"{report.title}: how the sale went", report.title, _head(report), _parts(report), _footer(report))


def shell(title: str, heading: str, head: str, parts: Iterable[str], footer: str) -> str:
    """A page around its parts, of which some may be empty; what is no heading is HTML already."""
    style = (resources.files("boxoffice") / "salereport.css").read_text()
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<header>\n<h1>{escape(heading)}</h1>\n{head}</header>\n"
        + "\n".join(part for part in parts if part)
        + f"\n<footer><p>{footer}</p></footer>\n</main>\n</body>\n</html>\n"
    )


def _head(report: SaleReport) -> str:
    return f'<p class="soft">{_subtitle(report)}</p>\n{tiles(sums(report))}'


def _subtitle(report: SaleReport) -> str:
    return escape(f"{report.venue} · {report.sale} · {report.state} · times in {report.time_zone}")


def _footer(report: SaleReport) -> str:
    erased = " Personal data was erased." if report.erased else ""
    return escape(f"boxoffice report {report.sale}, {_Clock(report).text(report.at)}.{erased}")


def tiles(values: Iterable[Row]) -> str:
    each = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>\n" for name, value in values)
    return f'<dl class="sums">\n{each}</dl>\n'


def _parts(report: SaleReport) -> Iterator[str]:
    yield from night_plots(report)
    yield "<h2>From joining to a ticket</h2>" + table("Buyers", ("", ""), conversions(report))
    sections = [
        (s.name, f"{s.sold:,}", f"{s.seats:,}", amount(s.price_minor), amount(s.revenue_minor)) for s in report.sections
    ]
    money = f"minor units of {report.money.currency}"
    heads = ("Section", "Sold", "Seats", f"Price, {money}", f"Revenue, {money}")
    yield "<h2>Seats</h2>" + table("What was sold, and what stands", heads, sections)
    outcomes = [(o.state, o.reason, f"{o.orders:,}", f"{o.seats:,}") for o in report.outcomes]
    yield "<h2>Orders</h2>" + table("By what became of them", ("State", "Reason", "Orders", "Seats"), outcomes)
    yield "<h2>Faults</h2>" + table("What failed on the way", ("", ""), faults(report))
    clock = _Clock(report)
    deeds = [(str(i), clock.text(d.at), d.what, d.who, d.why) for i, d in enumerate(report.deeds, 1)]
    yield "<h2>Who did what</h2>" + table("As the ledger's trail has it", ("", "When", "What", "Who", "Why"), deeds)


def night_plots(report: SaleReport) -> Iterator[str]:
    """As they are told to who cannot see them, too."""
    if report.pace is None or report.waiting is None:
        yield '<p class="soft">No samples were taken of this sale: nothing is known of its line and pace.</p>'
        return
    clock, moments = _Clock(report), report.pace.moments
    draw = _Figures(clock, moments, _marks(report, clock), _bands(report))
    yield "<h2>The line</h2>"
    longest = f"At most {report.waiting.longest_line:,} waited."
    yield draw.over_time(
        "waiting",
        "Waiting in line, and called so far",
        longest,
        {"waiting": lambda m: m.waiting, "called": lambda m: m.called},
    )
    sold = f"{report.seats_sold:,} of {report.seats:,} seats are sold."
    yield draw.over_time("seats", "Seats", sold, {"sold": lambda m: m.sold_seats, "held": lambda m: m.held_seats})
    yield "<h2>The pace</h2>"
    share = percent(report.pace.mean_inside_percent_of_target)
    yield draw.over_time(
        "inside",
        "Buyers inside, and how many should be",
        f"While buyers were called, {share} of the target on average.",
        {"inside": lambda m: m.inside, "target": lambda m: m.inside_target},
    )
    fastest = f"At most {report.pace.most_called_per_minute:,.0f} were called in a minute."
    calls: dict[str, Callable[[Moment], float]] = {
        "called a minute": lambda m: m.called_per_minute,
        "joined a minute": lambda m: m.joined_per_minute,
    }
    if any(m.asked_per_minute for m in moments):
        calls["asked for, in Manual"] = lambda m: m.asked_per_minute
    yield draw.over_time("calls", "Called and joined, a minute", fastest, calls)
    yield "<h2>Waits</h2>"
    yield _waits(report)


def _waits(report: SaleReport) -> str:
    if report.waiting is None or report.waiting.since_opening is None:
        return '<p class="soft">Nobody was called.</p>'
    known, within = report.waiting.since_opening, report.waiting.within_seconds
    says = f"Half waited {duration(known.p50_seconds)} at most, 99 % {duration(known.p99_seconds)}."
    counts = [(b.from_seconds, b.to_seconds, b.numbers) for b in report.waiting.histogram_since_opening]
    title = "How long the called have waited, since they joined or since the opening"
    plot = bars("waits", title, says, counts, duration)
    return figure(title, f"{says} Right to within {within} s.", plot, ()) if plot else ""


class _Figures:
    """Those over time, with the same marks in each."""

    def __init__(self, clock: _Clock, moments: Sequence[Moment], marks: Sequence[Mark], bands: Sequence[Band]) -> None:
        self._clock, self._moments, self._marks, self._bands = clock, moments, marks, bands

    def over_time(self, name: str, title: str, says: str, series: dict[str, Callable[[Moment], float]]) -> str:
        clock, moments = self._clock, self._moments
        drawn = [Series(label, [(clock.at(m.at), of(m)) for m in moments]) for label, of in series.items()]
        plot = lines(
            Plot(
                name=name,
                title=title,
                says=says,
                series=drawn,
                x_text=clock.tick,
                marks=self._marks,
                bands=self._bands,
            )
        )
        return figure(title, says, plot, list(series))


def figure(title: str, says: str, plot: str, labels: Sequence[str]) -> str:
    keys = "".join(
        f'<span class="key"><svg viewBox="0 0 34 8" aria-hidden="true"><line class="s s{i}" x2="34" y1="4" y2="4"/>'
        f"</svg>{escape(label)}</span>"
        for i, label in enumerate(labels, 1)
    )
    caption = f"<strong>{escape(title)}.</strong> {escape(says)}"
    return f"<figure>\n<figcaption>{caption}<br>{keys}</figcaption>\n{plot}\n</figure>"


def _marks(report: SaleReport, clock: _Clock) -> list[Mark]:
    """Numbers as in the table of who did what; R: Redis was rebuilt."""
    deeds = [
        Mark(clock.at(deed.at), str(i), "act", f"{clock.text(deed.at)}: {deed.what}, {deed.who}: {deed.why}")
        for i, deed in enumerate(report.deeds, 1)
    ]
    inside = [mark for mark in deeds if clock.first <= mark.at <= clock.last]
    rebuilt = [Mark(clock.at(at), "R", "fault", f"{clock.text(at)}: Redis rebuilt") for at in report.faults.recoveries]
    return [*inside[-MOST_MARKS:], *rebuilt[-MOST_MARKS:]]


def _bands(report: SaleReport) -> list[Band]:
    clock = _Clock(report)
    return [Band(clock.at(s.begin), clock.at(s.end)) for s in report.faults.silences]


class _Clock:
    """The times of a report in the zone of the sale."""

    def __init__(self, report: SaleReport) -> None:
        self._zone = ZoneInfo(report.time_zone)
        moments = report.pace.moments if report.pace else []
        self.first, self.last = (self.at(moments[0].at), self.at(moments[-1].at)) if moments else (0.0, 0.0)

    def at(self, time: str) -> float:
        return datetime.fromisoformat(time).timestamp()

    def text(self, time: str) -> str:
        return datetime.fromisoformat(time).astimezone(self._zone).strftime("%Y-%m-%d %H:%M:%S")

    def tick(self, at: float) -> str:
        span = self.last - self.first
        shape = "%H:%M:%S" if span < MINUTES else "%H:%M" if span < DAYS else "%d %b %H:%M"
        return datetime.fromtimestamp(at, self._zone).strftime(shape)


def table(caption: str, heads: Sequence[str], rows: Sequence[Row]) -> str:
    """Columns of numbers stand to the right."""
    if not rows:
        return '<p class="soft">None.</p>'
    right = [all(row[i][:1].isdigit() and ":" not in row[i] for row in rows) for i in range(len(heads))]
    head = "".join(_cell("th scope=col", text, n) for text, n in zip(heads, right, strict=True)) if any(heads) else ""
    body = "".join(
        "<tr>" + "".join(_cell("td", text, n) for text, n in zip(row, right, strict=True)) + "</tr>\n" for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>\n" if head else ""
    inner = f"<caption>{escape(caption)}</caption>\n{head}<tbody>\n{body}</tbody>"
    return f'<div class="scroll"><table>\n{inner}\n</table></div>'


def _cell(tag: str, text: str, is_number: bool) -> str:
    return f"<{tag}{' class=n' if is_number else ''}>{escape(text)}</{tag.partition(' ')[0]}>"
