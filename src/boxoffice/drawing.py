"""The course of a simulated night: on the terminal, and as a PNG (by matplotlib, which only the extra brings)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from boxoffice.errors import BadInput
from boxoffice.simulate import Moment

BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH = 80
LONGEST_ETA = 4 * 3600.0
"""While a target falls nobody is called for minutes; one moment of that would hide all others."""

CURVES: dict[str, Callable[[Moment], float]] = {
    "inside": lambda m: float(m.inside),
    "target": lambda m: m.target,
    "calls a second": lambda m: m.rate,
    "pressure": lambda m: m.pressure,
    "line": lambda m: float(m.waiting),
    "ETA, seconds": lambda m: min(LONGEST_ETA, max(0.0, m.eta)),
}
"""pressure: what is used of the setpoint. ETA: of who joins now."""
PANELS = (("inside", "target"), ("calls a second",), ("pressure",), ("line",), ("ETA, seconds",))


def rows(moments: Sequence[Moment]) -> Iterator[str]:
    """A line each, from nothing to its own highest."""
    for name, value in CURVES.items():
        values = _thinned([value(m) for m in moments])
        top = max(values)
        yield f"{name:>14} {_blocks(values, top)} {top:,.{0 if top >= 100 else 2}f}"
    yield f"{'':>14} 0{f'{moments[-1].at:,.0f} s':>{len(values) - 1}}"


def _thinned(values: Sequence[float]) -> list[float]:
    """As many as there are columns, each the mean of its time."""
    parts = min(WIDTH, len(values))
    ends = [len(values) * n // parts for n in range(parts + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(ends)]


def _blocks(values: Sequence[float], top: float) -> str:
    return "".join(BLOCKS[round(value / top * (len(BLOCKS) - 1))] if top else " " for value in values)


def write_png(file: Path, moments: Sequence[Moment], title: str) -> None:
    """Raises BadInput without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise BadInput("a PNG needs matplotlib: pip install 'boxoffice[simulate]'") from None
    figure = Figure(figsize=(9, 10), layout="constrained")
    figure.suptitle(title)
    seconds = [m.at for m in moments]
    for axes, names in zip(figure.subplots(len(PANELS), 1, sharex=True), PANELS, strict=True):
        for name in names:
            axes.plot(seconds, [CURVES[name](m) for m in moments], label=name, linewidth=1)
        axes.set_ylabel(names[0])
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend(loc="lower right")
    axes.set_xlabel("seconds after the opening")
    figure.savefig(file, format="png", dpi=110)
