"""What is seen while the crowd is at it: one table that changes on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

LINE_SECONDS = 5.0


class Progress(AbstractContextManager["Progress"]):
    """`opens_at` in seconds since the epoch; figures are a sale as the admin API gives it."""

    def __init__(self, console: Console, opens_at: float, buyers: int) -> None:
        self._console = console
        self._opens_at = opens_at
        self._buyers = buyers
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._next_line = 0.0

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, sale: dict[str, Any], done: int) -> None:
        if self._console.is_terminal:
            self._live.update(self._table(sale, done))
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            figures = "  ".join(f"{name} {value}" for name, value in self._figures(sale, done))
            self._console.print(figures, highlight=False, soft_wrap=True)

    def _figures(self, sale: dict[str, Any], done: int) -> list[tuple[str, str]]:
        since = time.time() - self._opens_at
        return [
            ("opens in" if since < 0 else "open for", f"{abs(since):.0f} s"),
            ("state", sale["state"]),
            ("waiting", str(sale["waiting"])),
            ("inside", f"{sale['active']}/{sale['activeTarget']}"),
            ("held", str(sale["held"])),
            ("paying", str(sale["paying"])),
            ("sold", f"{sale['sold']}/{sale['total']}"),
            ("buyers done", f"{done}/{self._buyers}"),
        ]

    def _table(self, sale: dict[str, Any], done: int) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, value in self._figures(sale, done):
            table.add_row(f"[dim]{name}[/]", f"[bold]{value}[/]")
        table.add_row("", ProgressBar(total=sale["total"], completed=sale["sold"], width=40))
        return table
