"""Two nights in one picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from tests.steered.record import Record, Sample

PANELS: dict[str, Callable[[Sample], float | None]] = {
    "calls a minute": lambda s: s.per_minute,
    "MySQL's CPU used, of its limit": lambda s: s.use,
    "buyers inside": lambda s: s.inside,
    "seconds from paying to ticket": lambda s: s.seconds_to_ticket,
}
COLOURS = {"Auto": "tab:blue", "Manual": "tab:red"}


def draw(file: Path, records: Sequence[Record], title: str) -> None:
    figure = Figure(figsize=(8, 9), layout="constrained")
    figure.suptitle(title)
    first = records[0]
    for axes, (name, value) in zip(figure.subplots(len(PANELS), 1, sharex=True), PANELS.items(), strict=True):
        axes.axvspan(first.slow, first.well, color="0.9")
        for record in records:
            points = [(s.at, y) for s in record.samples if (y := value(s)) is not None]
            axes.plot(*zip(*points, strict=True), color=COLOURS[record.mode], label=record.mode, linewidth=1.3)
        axes.set_title(name, loc="left", fontsize=9)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        if "CPU" in name:
            axes.axhline(first.setpoint, color="black", linestyle="--", linewidth=1)
            axes.text(0, first.setpoint + 0.02, "setpoint", fontsize=8)
        axes.margins(x=0.01)
    figure.axes[0].legend(loc="lower center", ncols=2)
    figure.axes[-1].set_xlabel("seconds after the opening; grey: MySQL has half of its CPU")
    figure.savefig(file, format="png", dpi=80)
