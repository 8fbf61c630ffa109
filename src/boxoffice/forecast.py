"""A sale tried out on a simulated back end, in lines for people: its course, its figures, when it is sold out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import typer

from boxoffice.console import print_table
from boxoffice.drawing import rows
from boxoffice.figures import Figures, figures
from boxoffice.plant import World
from boxoffice.rangeexport import fitted
from boxoffice.sale import ConcertSale
from boxoffice.seating import size_of
from boxoffice.simulate import ENDLESS, SIGNALS, Run, Seller, simulate

MINUTES = 25
"""How long it goes on when it is not sold out before."""
COLUMNS = ("SETTLES", "OVERSHOOT", "USED", "VARIATION", "SECONDS OVER")
HEADER = ("SEED", *COLUMNS, "ETA COVERED", "SOLD OUT", "PEAK LATENCY")


def seller_of(sale: ConcertSale, crowd: int) -> Seller:
    seats = sum(map(size_of, sale.spec.seating.sections))
    return Seller(name=sale.metadata.name, spec=sale.spec, seats=seats, crowd=crowd)


def as_recorded(world: World, export: Path | None, seller: Seller) -> World:
    """With the capacity that a recorded night had. Raises Unprocessable."""
    return fitted(world, export.read_bytes(), seller.spec.signals or SIGNALS) if export else world


def forecast(seller: Seller, world: World, seeds: Sequence[int], minutes: int = MINUTES) -> tuple[Run, list[Figures]]:
    """The first seed's night, and the figures of all. Raises BadInput where the extra is not installed."""
    runs = [simulate([seller], world, seed, 60 * minutes)[0] for seed in seeds]
    return runs[0], [figures(run, seed) for run, seed in zip(runs, seeds, strict=True)]


def print_forecast(run: Run, found: Sequence[Figures], seller: Seller, world: World) -> None:
    for line in _course(run, world):
        typer.echo(line)
    print_table(HEADER, [_row(each) for each in found])
    if seller.seats < ENDLESS:
        typer.echo(_sold_out(found, seller))


def _course(run: Run, world: World) -> Iterator[str]:
    yield from rows(run.moments)
    yield ""
    last = run.entries[-1].decision
    yield f"capacity {world.capacity:,.0f} inside; at the end limited by {last.limited_by}: {last.reason}"


def _row(each: Figures) -> list[str]:
    return [
        str(each.seed),
        seconds(each.settling_seconds),
        f"{each.overshoot:+.1%}",
        f"{each.utilisation:.1%}",
        f"{each.variation:.2%}",
        seconds(each.seconds_over),
        "" if each.eta_covered is None else f"{each.eta_covered:.0%}",
        seconds(each.sold_out_seconds),
        f"{each.peak_latency_seconds * 1000:,.0f} ms",
    ]


def seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:,.0f} s"


def _sold_out(found: Sequence[Figures], seller: Seller) -> str:
    times = [each.sold_out_seconds for each in found if each.sold_out_seconds is not None]
    if len(times) < len(found):
        return f"{seller.seats:,} seats: not sold out in this time in {len(found) - len(times)} of {len(found)} runs"
    peak = f"peak latency {max(each.peak_latency_seconds for each in found) * 1000:,.0f} ms"
    return f"{seller.seats:,} seats are sold out {median(times) / 60:,.1f} minutes after the opening, {peak}"
