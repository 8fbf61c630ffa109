"""Plots as SVG, drawn by hand: for a page that fetches nothing and runs nothing.

Colours and dashes come from the page's style (`s1`, `s2`, …), so that lines differ without colours too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 900, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 26, 28
TICKS = 6


@dataclass(frozen=True, slots=True)
class Series:
    label: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: a line across the plot, with a number that a list beside it explains."""

    at: float
    sign: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Band:
    """A time of which nothing is known."""

    begin: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """`name` is its id on the page; `says` is for who cannot see it."""

    name: str
    title: str
    says: str
    series: Sequence[Series]
    x_text: Callable[[float], str]
    marks: Sequence[Mark] = ()
    bands: Sequence[Band] = field(default=())


def lines(plot: Plot) -> str:
    """Empty when there is nothing to draw."""
    xs = [x for series in plot.series for x, _ in series.points]
    if not xs:
        return ""
    frame = _Frame(min(xs), max(xs), max(y for series in plot.series for _, y in series.points))
    body = [*_axes(frame, plot.x_text), *(_band(frame, band) for band in plot.bands)]
    body += [_line(frame, i, series) for i, series in enumerate(plot.series, 1)]
    body += [_mark(frame, mark) for mark in plot.marks]
    return _svg(plot.name, plot.title, plot.says, body)


def bars(
    name: str, title: str, says: str, counts: Sequence[tuple[float, float, float]], x_text: Callable[[float], str]
) -> str:
    """`counts`: from, to, how many. Empty when there is nothing to draw."""
    if not counts:
        return ""
    frame = _Frame(counts[0][0], counts[-1][1], max(n for _, _, n in counts))
    body = [*_axes(frame, x_text), *(_bar(frame, *count, x_text) for count in counts)]
    return _svg(name, title, says, body)


class _Frame:
    def __init__(self, first: float, last: float, most: float) -> None:
        self.first, self.last = first, last if last > first else first + 1
        self.step = nice_step(most)
        self.top = self.step * max(1, math.ceil(most / self.step))

    def x(self, value: float) -> float:
        inside = min(1.0, max(0.0, (value - self.first) / (self.last - self.first)))
        return round(LEFT + inside * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM), 1)


def nice_step(most: float) -> float:
    """1, 2 or 5 times a power of ten: four or five of them reach the top."""
    rough = max(most, 1) / 4
    power: float = 10.0 ** math.floor(math.log10(rough))
    return max(1.0, power * next(n for n in (1, 2, 5, 10) if n * power >= rough))


def _axes(frame: _Frame, x_text: Callable[[float], str]) -> Iterator[str]:
    for i in range(round(frame.top / frame.step) + 1):
        y = frame.y(i * frame.step)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text class="tick" x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{i * frame.step:,.0f}</text>'
    for i in range(TICKS):
        value = frame.first + (frame.last - frame.first) * i / (TICKS - 1)
        anchor = "start" if i == 0 else "end" if i == TICKS - 1 else "middle"
        text = escape(x_text(value))
        yield f'<text class="tick" x="{frame.x(value)}" y="{HEIGHT - 8}" text-anchor="{anchor}">{text}</text>'


def _line(frame: _Frame, number: int, series: Series) -> str:
    path = " ".join(f"{frame.x(x)},{frame.y(y)}" for x, y in series.points)
    return f'<polyline class="s s{number}" points="{path}"><title>{escape(series.label)}</title></polyline>'


def _mark(frame: _Frame, mark: Mark) -> str:
    x = frame.x(mark.at)
    return (
        f'<g class="mark {mark.kind}"><title>{escape(mark.text)}</title>'
        f'<line x1="{x}" x2="{x}" y1="{TOP - 6}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text x="{x}" y="{TOP - 10}" text-anchor="middle">{escape(mark.sign)}</text></g>'
    )


def _band(frame: _Frame, band: Band) -> str:
    x, width = frame.x(band.begin), round(max(1.0, frame.x(band.end) - frame.x(band.begin)), 1)
    return f'<rect class="silence" x="{x}" y="{TOP}" width="{width}" height="{HEIGHT - TOP - BOTTOM}"/>'


def _bar(frame: _Frame, begin: float, end: float, count: float, x_text: Callable[[float], str]) -> str:
    x, y = frame.x(begin), frame.y(count)
    width, height = round(max(1.0, frame.x(end) - x - 2), 1), round(HEIGHT - BOTTOM - y, 1)
    says = escape(f"{x_text(begin)} to {x_text(end)}: {count:,.0f}")
    return f'<rect class="bar" x="{x}" y="{y}" width="{width}" height="{height}"><title>{says}</title></rect>'


def _svg(name: str, title: str, says: str, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-title {name}-says">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-says">{escape(says)}</desc>'
        f"{''.join(body)}</svg>"
    )
