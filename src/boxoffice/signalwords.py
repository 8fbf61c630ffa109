"""What a sale's signals said and what was decided by them, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from boxoffice.durations import short
from boxoffice.seen import SeenDecision, SeenSignalStatus, SeenStatus

HEADER = ("signals", "kind", "measured", "setpoint", "pressure", "")
NUMBERS = (2, 3, 4)
"""Columns that stand to the right."""
AT_SETPOINT = 1000


def explained_signals(status: SeenStatus) -> Iterator[str]:
    """A table; nothing where there are none."""
    if not status.signals:
        return
    rows = [HEADER, *(_row(signal, status.admission.limited_by) for signal in status.signals)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        cells = (_cell(text, width, column) for column, (text, width) in enumerate(zip(row, widths, strict=True)))
        yield "  ".join(cells).rstrip()


def _row(signal: SeenSignalStatus, limited_by: str) -> tuple[str, ...]:
    percent = "-" if signal.pressure is None else f"{signal.pressure / 10:,.0f} %"
    return (
        f"  {signal.name}",
        signal.kind,
        "-" if signal.value is None else _number(signal.value),
        _number(signal.setpoint),
        percent,
        _words(signal, limited_by),
    )


def _cell(text: str, width: int, column: int) -> str:
    return text.rjust(width) if column in NUMBERS else text.ljust(width)


def _number(thousandths: int) -> str:
    """700 is 0.7; in the query's unit, which only its author knows."""
    return f"{thousandths / 1000:,.3f}".rstrip("0").rstrip(".")


def _words(signal: SeenSignalStatus, limited_by: str) -> str:
    """What a Fresh one does, what is the matter with another."""
    if signal.state != "Fresh":
        return f"{signal.state.lower()}: {signal.message}" if signal.message else signal.state.lower()
    over = (signal.pressure or 0) > AT_SETPOINT
    return "limits" if signal.name == limited_by else "over its setpoint" if over else ""


def explained_decisions(decisions: Sequence[SeenDecision], now: datetime) -> Iterator[str]:
    """The oldest first, as events are; nothing where there are none."""
    if not decisions:
        return
    yield "decisions"
    inside = max(len(f"{decision.active_target:,}") for decision in decisions)
    by = max(len(decision.limited_by) for decision in decisions)
    for decision in decisions:
        ago = f"{short(now - decision.time)} ago"
        yield f"  {ago:<12}{decision.active_target:>{inside},}  {decision.limited_by:<{by}}  {decision.reason}".rstrip()
