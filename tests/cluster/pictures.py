"""python -m tests.cluster.pictures: the curves of docs/nights, as SVG beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from boxoffice.plots import Plot, Series, lines
from tests.cluster.nights import REPORTS

STYLE = """<style>
svg { background: #fff; font: 12px system-ui, sans-serif }
.grid { stroke: #dfdad0 } .tick { fill: #5f5b53 }
.s { fill: none; stroke-width: 2 } .s1 { stroke: #0a6650 } .s2 { stroke: #a64b12; stroke-dasharray: 7 4 }
.s3 { stroke: #3350b8; stroke-dasharray: 2 3 } .s4 { stroke: #a4262c; stroke-width: 1 }
</style>"""
DASHES = ("solid", "dashed", "dotted", "thin")

Points = Sequence[tuple[float, float]]


def main() -> None:
    nights = {name: read(name) for name in ("night-1", "night-2", "night-3")}
    cores = [Series(name, percent(night["mysqld"]["every5s"])) for name, night in nights.items()]
    draw("night", "mysqld, % of one core, every 5 s", [*cores, level("the most it may take", 40, cores)])
    use = [Series(mode, percent(read(f"capped-{mode.lower()}")["use"])) for mode in ("Auto", "Manual")]
    draw("capped", "mysqld, % of the CPU that it may use", [*use, level("setpoint", 70, use)])


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REPORTS / f"{name}.json").read_text())
    return found


def percent(points: Points) -> Points:
    return [(at, 100 * value) for at, value in points]


def level(label: str, y: float, beside: Sequence[Series]) -> Series:
    xs = [x for series in beside for x, _ in series.points]
    return Series(label, [(min(xs), y), (max(xs), y)])


def draw(name: str, title: str, series: Sequence[Series]) -> None:
    says = "; ".join(f"{dash}: {each.label}" for dash, each in zip(DASHES, series, strict=False))
    svg = lines(Plot(name=name, title=title, says=says, series=series, x_text=lambda x: f"{x:.0f} s"))
    text = f'<text class="tick" x="64" y="14">{title}: {says}; seconds since the opening</text>'
    head, mark, body = svg.partition("</desc>")
    named = head.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    Path(REPORTS / f"{name}.svg").write_text(named + mark + STYLE + text + body + "\n")


if __name__ == "__main__":
    main()
