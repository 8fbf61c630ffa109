"""Sales in a cluster as a table: the columns of the definition, and the override where one is in force."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from boxoffice.durations import short
from boxoffice.override import Override
from boxoffice.seen import SeenSale

HEADER = ["NAME", "READY", "POLICY", "MODE", "WAITING", "ACTIVE", "RATE", "LIMITED-BY", "SOLD", "TOTAL", "AGE"]
OVERRIDE = "OVERRIDE"
NUMBERS = {"WAITING", "ACTIVE", "RATE", "SOLD", "TOTAL"}
REFRESHES_A_SECOND = 4
LEAST_WIDTH = 6
"""Of a column on a pipe, where what comes later is not known."""

Cell = str | int


def row(sale: SeenSale, now: datetime) -> list[Cell]:
    """One cell more than HEADER: the override, or nothing."""
    ready, status, override = sale.condition("Ready"), sale.status, sale.override(now)
    return [
        sale.name,
        ready.status if ready else "-",
        sale.spec.policy,
        sale.spec.admission.mode,
        status.waiting,
        status.admission.active,
        status.admission.per_minute,
        status.admission.limited_by or "-",
        status.seats.sold,
        status.seats.total,
        short(now - sale.metadata.creation_timestamp),
        in_words(override) if override else "",
    ]


def in_words(override: Override) -> str:
    """`Hold by ann: the ledger is slow (until 16:40:00Z)`."""
    until = override.until and override.until.astimezone(UTC)
    end = f" (until {until:%Y-%m-%dT%H:%M:%SZ})" if until else ""
    return f"{override.policy} by {override.who}: {override.why}{end}"


def table(sales: Iterable[SeenSale], now: datetime) -> tuple[list[str], list[list[Cell]]]:
    """Header and rows, by name."""
    rows = [row(sale, now) for sale in sorted(sales, key=lambda sale: sale.name)]
    if any(cells[-1] for cells in rows):
        return [*HEADER, OVERRIDE], rows
    return HEADER, [cells[:-1] for cells in rows]


class Lines:
    """For a pipe: one line for each change of a sale; an age that has grown is none."""

    def __init__(self, write: Callable[[str], None], complain: Callable[[str], None]) -> None:
        self._write, self._complain = write, complain
        self._widths: list[int] = []
        self._shown: dict[str, list[Cell]] = {}

    def show(self, sales: Sequence[SeenSale], now: datetime) -> None:
        if sales and not self._widths:
            longest = max(len(sale.name) for sale in sales)
            self._widths = [max(longest, LEAST_WIDTH), *(max(len(name), LEAST_WIDTH) for name in HEADER[1:])]
            self._line([*HEADER, OVERRIDE])
        for sale in sales:
            cells = row(sale, now)
            if self._shown.get(sale.name) != (kept := _without_age(cells)):
                self._shown[sale.name] = kept
                self._line(cells)
        for name in self._shown.keys() - {sale.name for sale in sales}:
            del self._shown[name]
            self._write(f"{name} deleted")

    def say(self, fault: str) -> None:
        self._complain(fault)

    def _line(self, cells: Sequence[Cell]) -> None:
        *columns, override = (str(cell) for cell in cells)
        padded = [cell.ljust(width) for cell, width in zip(columns, self._widths, strict=True)]
        self._write("   ".join([*padded, override]).rstrip())


def _without_age(cells: list[Cell]) -> list[Cell]:
    return [*cells[:-2], cells[-1]]


class Screen:
    """For a terminal: one table, drawn again in place; ages grow by themselves."""

    def __init__(self, console: Console | None = None) -> None:
        self._sales: Sequence[SeenSale] = ()
        self._fault = ""
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=REFRESHES_A_SECOND)

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, sales: Sequence[SeenSale], now: datetime) -> None:
        self._sales, self._fault = list(sales), ""

    def say(self, fault: str) -> None:
        self._fault = fault

    def _draw(self) -> RenderableType:
        header, rows = table(self._sales, datetime.now(UTC))
        drawn = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for name in header:
            drawn.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=name != OVERRIDE)
        for cells in rows:
            drawn.add_row(*(Text(str(cell)) for cell in cells))
        if not rows and not self._fault:
            return Text("no sale here")
        return Group(drawn, Text(self._fault)) if self._fault else drawn
