"""`boxoffice simulate`, `plan` and `replay`: a sale's pace tried out beforehand, its needs, its decisions again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from boxoffice.capacityplan import Plan, Prices, parse_bench, plan as plan_for
from boxoffice.console import Json, examples, print_json, print_table
from boxoffice.decisionlog import first_difference, line
from boxoffice.drawing import write_png
from boxoffice.errors import BadInput
from boxoffice.forecast import COLUMNS, MINUTES, as_recorded, forecast, print_forecast, seconds, seller_of
from boxoffice.plant import World, parse_fault
from boxoffice.rivals import Compared
from boxoffice.sale import parse_sale
from boxoffice.simulate import Run, Seller
from boxoffice.trials import Result, compare, sale_spec, try_all

app = typer.Typer(rich_markup_mode=None)

SaleFile = Annotated[Path | None, typer.Option("-f", "--file", help="A ConcertSale.")]
Capacity = Annotated[float, typer.Option(min=1, help="Buyers inside that use up the back end.")]
Show = Annotated[float, typer.Option(min=0.01, max=1, help="Share of the called who come.")]
Stay = Annotated[float, typer.Option(min=1, help="Seconds that a buyer stays inside, on the mean.")]
USUAL = World()


@app.command(
    epilog=examples(
        "boxoffice simulate                                      # a start, 25 minutes of it",
        "boxoffice simulate --fault capacity=0.5@800-1500 --png night.png",
        "boxoffice simulate -f concertsale.yaml --crowd 20000    # when is it sold out?",
        "boxoffice simulate --seeds 100:120 --check              # does the control code reach its figures?",
        "boxoffice simulate --seeds 100:105 --rivals             # and would another law?",
    )
)
def simulate(
    file: SaleFile = None,
    crowd: Annotated[int, typer.Option(min=1, help="How many wait at the opening.")] = 200_000,
    seeds: Annotated[str, typer.Option(help="A seed, or a range such as 100:120 (without the last).")] = "1",
    check: Annotated[bool, typer.Option("--check", help="The nights of the control code's own figures.")] = False,
    rivals: Annotated[bool, typer.Option("--rivals", help="Other laws beside this one, on the same nights.")] = False,
    minutes: Annotated[int, typer.Option(min=1, max=600, help="How long, when it is not sold out before.")] = MINUTES,
    capacity: Capacity = USUAL.capacity,
    stay: Annotated[
        float, typer.Option(min=1, help="Seconds that a buyer stays inside, on the mean.")
    ] = World().stay_seconds,
    show: Show = USUAL.show,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="KIND[=VALUE]@START-END: capacity, show, dark, nan, empty, operator; seconds."),
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--from", help="Take the capacity from a Prometheus range export (JSON).")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the first seed's night into this file.")] = None,
    log: Annotated[Path | None, typer.Option(help="Write the first seed's decisions, for `boxoffice replay`.")] = None,
    output: Json = None,
) -> None:
    """Runs the real control code, inner and outer, against a simulated back end and crowd.

    Prints how inside, pace, pressure, line and ETA went, and what the night comes to; with a sale of some seats, when
    it is sold out. With --check it runs the nights that the control code must get through, prints every figure beside
    its limits, and ends with 1 when one is missed.
    """
    numbers = _seeds(seeds)
    if check:
        raise typer.Exit(_check(numbers, bool(output)))
    if rivals:
        return _compare(numbers, bool(output))
    faults = tuple(map(parse_fault, fault or ()))
    world = World(capacity=capacity, stay_seconds=stay, show=show, faults=faults)
    seller = _seller(file, crowd, world)
    world = as_recorded(world, export, seller)
    first, found = forecast(seller, world, numbers, minutes)
    _keep(first, seller.name, png, log)
    if output:
        print_json(found)
    else:
        print_forecast(first, found, seller, world)


def _seeds(text: str) -> list[int]:
    match = re.fullmatch(r"(\d{1,9})(?::(\d{1,9}))?", text)
    first, end = (int(match[1]), int(match[2] or int(match[1]) + 1)) if match else (0, 0)
    if not first < end <= first + 10_000:
        raise BadInput(f"--seeds must be a number, or a range such as 100:120, not {text!r}")
    return list(range(first, end))


def _seller(file: Path | None, crowd: int, world: World) -> Seller:
    if file is None:
        spec = sale_spec(
            initial_active=max(1, int(0.02 * world.capacity)), max_active=min(10**6, int(4 * world.capacity))
        )
        return Seller(name="simulated", spec=spec, crowd=crowd)
    return seller_of(parse_sale(file.read_bytes()), crowd)


def _keep(run: Run, name: str, png: Path | None, log: Path | None) -> None:
    if png:
        write_png(png, run.moments, name)
    if log:
        log.write_bytes(b"".join(map(line, run.entries)))


def _check(seeds: Sequence[int], as_json: bool) -> int:
    results = try_all(seeds, lambda seed: typer.echo(f"seed {seed} is done", err=True))
    if as_json:
        print_json(results)
    else:
        print_table(("FIGURE", "LIMITS", "LEAST", "MEDIAN", "MOST", ""), [_result_row(each) for each in results])
    return 0 if all(each.passed for each in results) else 1


def _compare(seeds: Sequence[int], as_json: bool) -> None:
    found = compare(seeds)
    if as_json:
        print_json(found)
    else:
        print_table(("LAW", *COLUMNS[:2], "HALVED SETTLES", *COLUMNS[2:]), [_compared_row(each) for each in found])


def _compared_row(each: Compared) -> list[str]:
    return [
        each.law,
        seconds(each.settling_seconds),
        f"{each.overshoot:+.1%}",
        seconds(each.settling_seconds_halved),
        f"{each.utilisation:.1%}",
        f"{each.variation:.2%}",
        seconds(each.seconds_over),
    ]


def _result_row(each: Result) -> list[str]:
    limits = f"{each.low:g} .. {each.high:g}"
    return [
        each.name,
        limits,
        f"{each.least:g}",
        f"{each.middle:g}",
        f"{each.most:g}",
        "PASS" if each.passed else "FAIL",
    ]


@app.command(
    epilog=examples(
        "make bench ARGS='--json bench.json'",
        "boxoffice plan -f concertsale.yaml --crowd 200000 --bench bench.json",
        "boxoffice plan -f concertsale.yaml --crowd 200000 --bench bench.json --core-price 0.05 -o json",
    )
)
def plan(
    file: Annotated[Path, typer.Option("-f", "--file", help="A ConcertSale.")],
    crowd: Annotated[int, typer.Option(min=1, max=100_000_000, help="How many come.")],
    bench: Annotated[Path, typer.Option(help="The JSON of `make bench`, from a machine like yours.")],
    capacity: Capacity = USUAL.capacity,
    stay: Stay = USUAL.stay_seconds,
    show: Show = USUAL.show,
    core_price: Annotated[float, typer.Option(min=0, help="Of a core, an hour.")] = Prices().core,
    memory_price: Annotated[float, typer.Option(min=0, help="Of a GiB, an hour.")] = Prices().gibibyte,
    output: Json = None,
) -> None:
    """What a sale needs in its busiest minute: pods, cores, Redis' memory, partitions, and what that costs."""
    prices = Prices(core=core_price, gibibyte=memory_price)
    world = World(capacity=capacity, stay_seconds=stay, show=show)
    found = plan_for(parse_sale(file.read_bytes()).spec, crowd, parse_bench(bench.read_bytes()), prices, world)
    if output:
        print_json(found)
    else:
        print_table(("NEED", "FIGURE"), _plan_rows(found))


def _plan_rows(found: Plan) -> list[list[str]]:
    return [[name, f"{value:,}"] for name, value in msgspec.to_builtins(found).items()]


@app.command(
    epilog=examples(
        "boxoffice simulate --log decisions.jsonl",
        "boxoffice replay decisions.jsonl",
    )
)
def replay(file: Annotated[Path, typer.Argument(help="A log of decisions.")]) -> None:
    """Decides everything in a log again. Ends with 1, and shows the first line, when something comes out otherwise."""
    lines = file.read_bytes().splitlines()
    if different := first_difference(lines):
        number, was, now = different
        typer.echo(
            f"line {number} comes out otherwise\nwas {was.decode(errors='replace')}\nnow {now.decode()}", nl=False
        )
        raise typer.Exit(1)
    typer.echo(f"{len(lines)} decisions, all the same again")
