"""What `boxoffice simulate` and `boxoffice plan` foretell of a demo, beside what came of it.

python load/bench/foreseen.py --help
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from boxoffice.capacityplan import JOIN_PEAK, PEAK_SECONDS, Prices, plan
from boxoffice.console import examples
from boxoffice.crowd import RAMP_SECONDS, STORIES
from boxoffice.demo import Demo, house
from boxoffice.embedded import shipped
from boxoffice.plant import World
from boxoffice.sale import parse_sales
from boxoffice.simulate import Seller, simulate
from boxoffice.spec import Spec
from boxoffice.witnesses import Story, read_stories

OFF = 0.25
NIGHTS = 9
"""Simulated ones; when a sale is sold out hangs on who lets a hold lapse last."""
WIDE = 1e9
"""Nothing that a demo's buyers do uses up the back end."""
FREE = dict.fromkeys(("line", "whereabouts", "seatMap", "join", "hold", "order", "bytes"), 0.0)

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Figures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    sold_out_seconds: float
    mean_requests_per_second: float
    """From the opening until it is sold out."""
    peak_requests_per_second: float


class Compared(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    buyers: int
    seats: int
    stay_seconds: float
    """Measured; all else that is foretold from stands in load/flow.js and in the manifest."""
    foretold: Figures
    demos: list[Figures]
    real: Figures
    """Their medians."""
    passed: bool


async def play(buyers: int, seats: int, seed: int) -> tuple[Figures, float]:
    """A demo, and how long who paid was inside."""
    with tempfile.TemporaryDirectory(prefix="boxoffice-foreseen-") as name:
        folder, report = Path(name) / "demo", Path(name) / "report.json"
        demo = Demo(buyers=buyers, seats=seats, seed=seed, report=report, data_dir=folder, console=Console(stderr=True))
        await demo.run()
        found, stories = msgspec.json.decode(report.read_bytes()), read_stories(folder / STORIES)
    if found["soldOutSeconds"] is None:
        raise SystemExit("the demo was not sold out: there is nothing to compare")
    return real(stories, found["soldOutSeconds"]), fmean(filter(None, map(stay, stories)))


def real(stories: Sequence[Story], sold_out_seconds: float) -> Figures:
    answers = [story.began_at_ms + step.after_ms for story in stories for step in story.steps]
    opened = min(story.called_at_ms for story in stories if story.called_at_ms)
    seconds = Counter((at - opened) // 1000 for at in answers)
    selling = sum(seconds[at] for at in range(int(sold_out_seconds)))
    windows = [sum(seconds[at + n] for n in range(PEAK_SECONDS)) for at in range(min(seconds), max(seconds))]
    return Figures(
        sold_out_seconds=sold_out_seconds,
        mean_requests_per_second=round(selling / int(sold_out_seconds), 1),
        peak_requests_per_second=max(windows) / PEAK_SECONDS,
    )


def stay(story: Story) -> float | None:
    """From the claim to the ticket."""
    claims = [step.after_ms for step in story.steps if step.name == "claim" and step.status == 201]
    return (story.ended_at_ms - story.began_at_ms - claims[0]) / 1000 if claims and story.end == "paid" else None


def foretell(buyers: int, seats: int, stay_seconds: float) -> Figures:
    """The crowd of load/flow.js: 5 % let a hold lapse, 2 % leave when their card is declined, 3 % never come, a fifth
    wants two seats. They come evenly, so that no second is busier than the mean."""
    world = World(
        capacity=WIDE, stay_seconds=stay_seconds, show=0.97, claim_seconds=1.0, buys=0.93, lapses=0.05, seats_each=1.2
    )
    spec = sale(seats)
    runs = [
        simulate([Seller(name="demo", spec=spec, seats=seats, crowd=buyers)], world, seed, 600)[0]
        for seed in range(1, NIGHTS + 1)
    ]
    planned = plan(spec, buyers, FREE, Prices(), world, RAMP_SECONDS * JOIN_PEAK)
    return Figures(
        sold_out_seconds=median(run.sold_out for run in runs),
        mean_requests_per_second=planned.mean_requests_per_second,
        peak_requests_per_second=planned.peak_requests_per_second,
    )


def sale(seats: int) -> Spec:
    spec = parse_sales(shipped("manifests", "concertsale-demo.yaml").read_bytes())[0].spec
    return msgspec.structs.replace(spec, seating=house(seats, [1, 1, 1]))


def middle(demos: Sequence[Figures]) -> Figures:
    rows = [msgspec.structs.asdict(each) for each in demos]
    return Figures(**{name: round(median(row[name] for row in rows), 1) for name in rows[0]})


def ratios(found: Compared) -> dict[str, float]:
    told, came = msgspec.structs.asdict(found.foretold), msgspec.structs.asdict(found.real)
    return {name: told[name] / came[name] for name in told}


def table(found: Compared) -> Table:
    title = f"{found.buyers:,} buyers, {found.seats:,} seats, {found.stay_seconds:.1f} s inside"
    drawn = Table(title=title, box=SIMPLE_HEAD)
    for heading in ("", "foretold", "median", "each", "ratio"):
        drawn.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, ratio in ratios(found).items():
        each = ", ".join(f"{getattr(demo, name):,.0f}" for demo in found.demos)
        told, came = getattr(found.foretold, name), getattr(found.real, name)
        drawn.add_row(name.replace("_", " "), f"{told:,.0f}", f"{came:,.0f}", each, f"{ratio:.2f}")
    return drawn


@app.command(
    epilog=examples(
        "python load/bench/foreseen.py                                  # three demos, some five minutes",
        "python load/bench/foreseen.py --buyers 2000 --seats 1000 --runs 1 --json foreseen.json",
    )
)
def foreseen(
    buyers: Annotated[int, typer.Option(min=2, max=5000)] = 1000,
    seats: Annotated[int, typer.Option(min=10, max=5000)] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Of the first demo; the next take the next.")] = 11,
    runs: Annotated[int, typer.Option(min=1, max=20, help="How many demos.")] = 3,
    json: Annotated[Path | None, typer.Option(help="Write the figures as JSON to this file.")] = None,
) -> None:
    """Plays demos, foretells them from the same numbers, and compares. Ends with 1 where one is off by more than a
    quarter."""
    played = [asyncio.run(play(buyers, seats, seed + n)) for n in range(runs)]
    demos, stay_seconds = [figures for figures, _ in played], round(median(each for _, each in played), 2)
    foretold = foretell(buyers, seats, stay_seconds)
    found = Compared(
        buyers=buyers,
        seats=seats,
        stay_seconds=stay_seconds,
        foretold=foretold,
        demos=demos,
        real=middle(demos),
        passed=False,
    )
    found = msgspec.structs.replace(found, passed=all(abs(ratio - 1) <= OFF for ratio in ratios(found).values()))
    Console(width=120).print(table(found))
    if json:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    raise typer.Exit(0 if found.passed else 1)


if __name__ == "__main__":
    app()
