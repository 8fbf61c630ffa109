"""Draws what record.py wrote down, without Grafana:

PYTHONPATH=src python chart/dashboards/draw.py night.json docs/dashboards.png
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from record import STEP, Drawn, Night, Panel

GLANCE, SRE = "boxoffice-glance", "boxoffice-sre"
ROWS = (
    ((GLANCE, "Line"), (SRE, "Requests by step")),
    ((SRE, "CPU of the database"), (SRE, "Time of orders")),
    ((GLANCE, "Inside"), (SRE, "Time of holds")),
    ((GLANCE, "Pace"), (SRE, "Event loop, late by")),
    ((GLANCE, "Seats"), (SRE, "CPU of our processes")),
)
"""The database under the line, that both are seen at once."""
UNITS: dict[str, Callable[[float], str]] = {
    "s": lambda value: f"{value * 1000:,.0f} ms" if value < 1 else f"{value:,.1f} s",
    "reqps": lambda value: f"{value:,.0f}/s",
    "percentunit": lambda value: f"{value:.0%}",
    "short": lambda value: f"{value:,.4g}",
}
NEAR = {"columnspacing": 1.2, "handlelength": 1.2, "borderaxespad": 0.2}
ROOM = 1.15
"""For the legend, above the curves."""
INK, PALE, PAPER = "#d8d9da", "#34373d", "#181b1f"
COLORS = ("#73bf69", "#5794f2", "#f2cc0c", "#ff780a", "#b877d9", "#f2495c", "#8ab8ff")


def figure(night: Night) -> Figure:
    found = {(panel.board, panel.title): panel for panel in night.panels}
    began = min(curve.points[0][0] for panel in night.panels for curve in panel.curves)
    drawn = Figure(figsize=(13, 12.5), layout="constrained", facecolor="#111217")
    drawn.suptitle(night.title, color=INK, fontsize=11)
    for row, names in zip(drawn.subplots(len(ROWS), 2, sharex=True), ROWS, strict=True):
        for axes, name in zip(row, names, strict=True):
            _draw(axes, found[name], began)
    for axes in drawn.axes[-2:]:
        axes.set_xlabel("seconds", color=INK, fontsize=8)
    return drawn


def _draw(axes: Axes, panel: Panel, began: float) -> None:
    _frame(axes, panel)
    if panel.stacked:
        _stack(axes, panel.curves, began)
    else:
        for curve, color in zip(panel.curves, COLORS, strict=False):
            axes.plot(*_columns(curve, began), color=color, linewidth=1.2, label=curve.legend)
        if len(panel.curves) <= 2:
            axes.fill_between(*_columns(panel.curves[0], began), color=COLORS[0], alpha=0.1)
    axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * ROOM)
    axes.margins(x=0)
    axes.legend(loc="upper right", ncols=len(panel.curves), fontsize=7, frameon=False, labelcolor=INK, **NEAR)


def _stack(axes: Axes, curves: Sequence[Drawn], began: float) -> None:
    seconds = _columns(curves[0], began)[0]
    values = [_columns(curve, began)[1] for curve in curves]
    axes.stackplot(seconds, values, colors=COLORS, alpha=0.7, labels=[curve.legend for curve in curves])


def _columns(curve: Drawn, began: float) -> tuple[list[float], list[float]]:
    """Where a number is missing, the line is broken."""
    points = [*curve.points]
    gaps = [(a + STEP, math.nan) for (a, _), (b, _) in pairwise(points) if b - a > 2 * STEP]
    points = sorted(points + gaps)
    return [at - began for at, _ in points], [value for _, value in points]


def _frame(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, loc="left", color=INK, fontsize=10)
    axes.set_facecolor(PAPER)
    axes.set_axisbelow(True)
    axes.grid(color=PALE, linewidth=0.6)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    text = UNITS[panel.unit]
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    for spine in axes.spines.values():
        spine.set_color(PALE)


def main(night: Path, picture: Path) -> None:
    drawn = figure(msgspec.json.decode(night.read_bytes(), type=Night))
    drawn.savefig(picture, format="png", dpi=80)


if __name__ == "__main__":
    typer.run(main)
