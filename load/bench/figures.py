"""The figures of a run: what each request costs, beside its limits, as a table and as JSON."""

from __future__ import annotations

from statistics import median

import msgspec
from rich.table import Table

POLL_TIMES_HELLO = 1.67
CALL_TIMES_HELLO = 3.0
MOST_BYTES = 130

TITLES = {
    "hello": "hello (bare ASGI)",
    "line": "GET line",
    "whereabouts": "GET places/me",
    "seatMap": "GET seats (the map)",
    "join": "POST places (join)",
    "hold": "POST holds",
    "order": "POST orders",
    "refused": "POST holds, not admitted",
}
POLLS = ("line", "whereabouts")
CALLS = ("join", "hold", "order")


class Round(msgspec.Struct, frozen=True):
    """One go at one line of the table. `rate` a second, `micros` of CPU time each."""

    rate: float
    micros: float


class Line(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of the table, the median of its rounds. CPU times in microseconds."""

    name: str
    requests_per_second: int
    cpu_micros: float
    times_hello: float
    calls_micros: float | None = None
    """What its calls to Redis and the log cost when made alone."""
    limit_micros: float | None = None
    passed: bool | None = None


class Memory(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    waiting: int
    bytes_per_buyer: float
    limit_bytes: int = MOST_BYTES

    @property
    def passed(self) -> bool:
        return self.bytes_per_buyer <= self.limit_bytes


class Report(msgspec.Struct, frozen=True, kw_only=True):
    lines: list[Line]
    memory: Memory
    passed: bool


def report(served: dict[str, list[Round]], called: dict[str, list[Round]], memory: Memory) -> Report:
    """`served` by line, over HTTP; `called` the same calls alone."""
    hello = _micros(served["hello"])
    lines = [_line(name, rounds, hello, called.get(name)) for name, rounds in served.items()]
    failed = [line for line in lines if line.passed is False]
    return Report(lines=lines, memory=memory, passed=not failed and memory.passed)


def _line(name: str, rounds: list[Round], hello: float, called: list[Round] | None) -> Line:
    micros, alone = _micros(rounds), _micros(called) if called else None
    limit = _limit(name, hello, alone)
    return Line(
        name=name,
        requests_per_second=round(median(r.rate for r in rounds)),
        cpu_micros=round(micros, 1),
        times_hello=round(micros / hello, 2),
        calls_micros=None if alone is None else round(alone, 1),
        limit_micros=None if limit is None else round(limit, 1),
        passed=None if limit is None else micros <= limit,
    )


def _limit(name: str, hello: float, alone: float | None) -> float | None:
    if name in POLLS:
        return POLL_TIMES_HELLO * hello
    return None if alone is None else CALL_TIMES_HELLO * hello + alone


def _micros(rounds: list[Round]) -> float:
    return median(r.micros for r in rounds)


def table(found: Report) -> Table:
    drawn = Table(title="CPU time of the app process for one request, user and system")
    for heading in ("request", "a second", "CPU µs", "x hello", "its calls µs", "limit µs", ""):
        drawn.add_column(heading, justify="left" if heading in ("request", "") else "right")
    for line in found.lines:
        drawn.add_row(*_cells(line))
    drawn.add_section()
    memory = found.memory
    each, most = f"{memory.bytes_per_buyer:.1f} B", f"{memory.limit_bytes} B"
    drawn.add_row(f"Redis, one of {memory.waiting:,} waiting", "", each, "", "", most, _verdict(memory.passed))
    return drawn


def _cells(line: Line) -> list[str]:
    return [
        TITLES[line.name],
        f"{line.requests_per_second:,}",
        f"{line.cpu_micros:.1f}",
        f"{line.times_hello:.2f}",
        "" if line.calls_micros is None else f"{line.calls_micros:.1f}",
        "" if line.limit_micros is None else f"{line.limit_micros:.1f}",
        "" if line.passed is None else _verdict(line.passed),
    ]


def _verdict(passed: bool) -> str:
    return "[green]PASS[/]" if passed else "[bold red]FAIL[/]"
