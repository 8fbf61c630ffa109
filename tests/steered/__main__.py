"""python -m tests.steered night Auto|Manual | draw: how the pace is steered, on the real app."""

from __future__ import annotations

import asyncio
import random
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from boxoffice.console import examples
from tests.steered.night import Times, open_stage, play
from tests.steered.picture import draw as draw_nights
from tests.steered.record import Record, stretches

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
FULL, QUICK = Times(200, 440, 600), Times(20, 40, 60)
USUAL_SHOW = 0.8


class Mode(StrEnum):
    Auto = "Auto"
    Manual = "Manual"


@app.command(
    epilog=examples(
        "make steered ARGS='night Auto --quick'                          # does it run? a minute",
        "make steered ARGS='night Auto --json auto.json'                 # seven minutes",
        "make steered ARGS='night Manual --per-minute 4000 --json manual.json'",
        "make steered ARGS='draw auto.json manual.json --png steered.png'",
    )
)
def night(
    mode: Mode,
    per_minute: Annotated[int, typer.Option(min=1, help="With Manual: how many are called.")] = 600,
    seed: Annotated[int, typer.Option(help="Of the buyers; but for 1 it draws the share that comes, too.")] = 1,
    cores: Annotated[float, typer.Option(min=0.01, max=2, help="That MySQL may use while it is well.")] = 0.08,
    quick: Annotated[bool, typer.Option("--quick", help="A minute of it.")] = False,
    json: Annotated[Path | None, typer.Option(help="Keep the night in this file.")] = None,
) -> None:
    """Plays one sale with Redis, Kafka, MySQL, Prometheus, an API server and the operator. MySQL has so many cores, and
    for a while half of them. Prints what the night came to. Ends with 1 when a buyer met what should not be."""
    show = USUAL_SHOW if seed == 1 else random.Random(seed).uniform(0.3, 1.0)

    async def run() -> Record:
        with tempfile.TemporaryDirectory(prefix="boxoffice-steered-") as folder:
            async with open_stage(Path(folder), cores) as stage:
                return await play(stage, mode.value, per_minute, show, seed, QUICK if quick else FULL, typer.echo)

    record = asyncio.run(run())
    if json:
        json.write_bytes(_rows(record))
    _print(record)
    raise typer.Exit(1 if record.problems else 0)


@app.command()
def draw(nights: list[Path], png: Annotated[Path, typer.Option(help="The picture.")]) -> None:
    """Draws kept nights into one picture."""
    records = [msgspec.json.decode(file.read_bytes(), type=Record) for file in nights]
    draw_nights(png, records, "One sale, twice: paced by its signals, and by hand at twice that pace")
    for record in records:
        _print(record)


def _rows(record: Record) -> bytes:
    """A line each for samples and decisions."""
    return msgspec.json.encode(record).replace(b"],[", b"],\n[") + b"\n"


def _print(record: Record) -> None:
    typer.echo(f"{record.mode}, seed {record.seed}, {record.show:.0%} come")
    for name, found in stretches(record).items():
        typer.echo(f"  {name}: {msgspec.json.encode(found).decode()}")
    for problem in record.problems:
        typer.echo(f"  problem: {problem}")


app()
