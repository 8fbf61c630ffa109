"""The figures of a run: what each request costs, beside its limits, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from publish import Published

POLL_TIMES_HELLO = 1.67
CALL_TIMES_HELLO = 3.0
ORDER_TIMES_EMBEDDED = 2.0
TIMES_EMBEDDED = 1.5
PUBLISHING_ADDS_MS = 2.0
MOST_BYTES = 130

TITLES = {
    "hello": "hello, alone",
    "line": "line",
    "whereabouts": "whereabouts",
    "seatMap": "seat map",
    "join": "join",
    "hold": "hold",
    "order": "order",
    "refused": "refused hold",
    "publishing": "publishing, ms p50",
}
HEADINGS = ("", "a second", "CPU µs", "hello", "ratio", "calls", "limit", "")
CAPTION = (
    "CPU µs: what a request costs the app process; hello: what a bare one costs in between, in µs too; "
    "calls: those to Redis and the log, made alone; a second: without the hellos. Medians of the rounds."
)
POLLS = ("line", "whereabouts")
CALLS = ("join", "hold", "order")


class Round(msgspec.Struct, frozen=True):
    """One go at one line of the table. CPU times a request, in microseconds."""

    rate: float
    """Requests a second, with nothing in between."""
    alone: float
    micros: float
    """With as many hellos in between."""
    hello: float
    """What those took."""
    calls: float | None = None
    """What its calls to Redis and the log take when made alone."""


Rounds = list[Round]


class Line(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of the table: medians of its rounds, as in Round."""

    name: str
    requests_per_second: int
    cpu_micros_alone: float
    cpu_micros: float
    hello_micros: float
    times_hello: float
    calls_micros: float | None = None
    limit_micros: float | None = None
    passed: bool | None = None


class Memory(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    waiting: int
    bytes_per_buyer: float
    limit_bytes: int = MOST_BYTES

    @property
    def passed(self) -> bool:
        return self.bytes_per_buyer <= self.limit_bytes


class Added(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the production engines make of one figure: CPU µs a request, or ms that publishing takes."""

    name: str
    embedded: float
    production: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.production <= self.limit


class Report(msgspec.Struct, frozen=True, kw_only=True):
    lines: list[Line]
    memory: Memory
    passed: bool
    production: list[Added] = []


def report(measured: Sequence[dict[str, Rounds]], memory: Memory, published: Sequence[Published]) -> Report:
    """`measured` and `published` of the embedded engines, then, if they were measured, of production's."""
    tables = [[_line(name, rounds) for name, rounds in each.items()] for each in measured]
    added = _added(tables[0], tables[1], published) if len(tables) > 1 else []
    failed = [line for line in tables[0] if line.passed is False] + [each for each in added if not each.passed]
    return Report(lines=tables[0], memory=memory, passed=not failed and memory.passed, production=added)


def _added(embedded: list[Line], production: list[Line], published: Sequence[Published]) -> list[Added]:
    added = [_compared(a, b) for a, b in zip(embedded, production, strict=True) if a.name != "hello"]
    before, after = (each.p50_ms for each in published)
    return [
        *added,
        Added(name="publishing", embedded=before, production=after, limit=round(before + PUBLISHING_ADDS_MS, 2)),
    ]


def _compared(embedded: Line, production: Line) -> Added:
    times = ORDER_TIMES_EMBEDDED if embedded.name == "order" else TIMES_EMBEDDED
    before, after = embedded.cpu_micros, production.cpu_micros
    return Added(name=embedded.name, embedded=before, production=after, limit=round(times * before, 1))


def _line(name: str, rounds: Rounds) -> Line:
    micros, hello = median(r.micros for r in rounds), median(r.hello for r in rounds)
    calls = median(r.calls or 0.0 for r in rounds) if name in CALLS else None
    limit = _limit(name, hello, calls)
    return Line(
        name=name,
        requests_per_second=round(median(r.rate for r in rounds)),
        cpu_micros_alone=round(median(r.alone for r in rounds), 1),
        cpu_micros=round(micros, 1),
        hello_micros=round(hello, 1),
        times_hello=round(micros / hello, 2),
        calls_micros=None if calls is None else round(calls, 1),
        limit_micros=None if limit is None else round(limit, 1),
        passed=None if limit is None else micros <= limit,
    )


def _limit(name: str, hello: float, calls: float | None) -> float | None:
    if name in POLLS:
        return POLL_TIMES_HELLO * hello
    return None if calls is None else CALL_TIMES_HELLO * hello + calls


def table(found: Report) -> Table:
    drawn = Table(title="What a request costs", caption=CAPTION, box=SIMPLE_HEAD)
    for heading in HEADINGS:
        drawn.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for line in found.lines:
        drawn.add_row(*_cells(line))
    drawn.add_section()
    memory = found.memory
    each, most = f"{memory.bytes_per_buyer:.1f} B", f"{memory.limit_bytes} B"
    drawn.add_row("one waiting", f"of {memory.waiting:,}", each, "", "", "", most, _verdict(memory.passed))
    return drawn


def comparison(added: list[Added]) -> Table:
    drawn = Table(
        title="What the production engines add", box=SIMPLE_HEAD, caption="CPU µs a request, by Redis and Kafka"
    )
    for heading in ("", "embedded", "production", "ratio", "limit", ""):
        drawn.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for each in added:
        ratio = round(each.production / each.embedded, 2) if each.embedded else ""
        figures = (each.embedded, each.production, ratio, each.limit)
        drawn.add_row(TITLES[each.name], *map(str, figures), _verdict(each.passed))
    return drawn


def _cells(line: Line) -> list[str]:
    return [
        TITLES[line.name],
        f"{line.requests_per_second:,}",
        f"{line.cpu_micros:.1f}",
        f"{line.hello_micros:.1f}",
        f"{line.times_hello:.2f}",
        "" if line.calls_micros is None else f"{line.calls_micros:.1f}",
        "" if line.limit_micros is None else f"{line.limit_micros:.1f}",
        "" if line.passed is None else _verdict(line.passed),
    ]


def _verdict(passed: bool) -> str:
    return "[green]PASS[/]" if passed else "[bold red]FAIL[/]"
