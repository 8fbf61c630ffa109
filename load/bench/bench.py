"""What a request costs: CPU time of the app process, beside limits that are measured in the same run.

python load/bench/bench.py --help
"""

from __future__ import annotations

import asyncio
import enum
import itertools
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import memory
from boxoffice.console import examples
from boxoffice.ports import free_ports
from boxoffice.settings import Settings
from boxoffice.stack import environment
from calls import Called
from crowd import Answered
from engines import House, start
from figures import Report, Round, Rounds, comparison, report, table
from loads import Load, Plan
from publish import Published

HERE = Path(__file__).parent


class Engines(enum.StrEnum):
    embedded = "embedded"
    production = "production"


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Bench:
    """The servers under load, and who loads them, for the time of one run."""

    def __init__(self, plan: Plan, folder: Path, progress: Progress, engines: list[str]) -> None:
        self.plan, self.folder, self._progress = plan, folder, progress
        self._hello, *ports = free_ports(1 + len(engines))
        self._houses = [House(name, folder / name, port) for name, port in zip(engines, ports, strict=True)]
        self._pids: dict[int, int] = {}

    async def run(self) -> Report:
        async with AsyncExitStack() as stack:
            argv = [sys.executable, str(HERE / "hello.py"), str(self._hello)]
            self._pids[self._hello] = await start(stack, self.folder, self._hello, "/", Settings(), *argv)
            bar = self._progress.add_task("buyers join, are called, and hold", total=4 * len(self._houses))
            for house in self._houses:
                await house.open(stack, self.plan, lambda: self._progress.advance(bar))
                self._pids[house.port] = house.pid
            measured = await self._measure()
            published = [await self._publish(house) for house in self._houses] if len(self._houses) > 1 else []
        waiting = self.plan.waiting
        bar = self._progress.add_task(f"{waiting:,} buyers join, for the memory", total=waiting)
        found = await memory.measure(self.folder / "memory", waiting, lambda n: self._progress.advance(bar, n))
        return report(measured, found, published)

    async def _measure(self) -> list[dict[str, Rounds]]:
        """Every line once, then every line again: whoever else loads the machine disturbs them all alike."""
        measured: list[dict[str, Rounds]] = [{name: [] for name in house.loads} for house in self._houses]
        total = self.plan.goes * sum(len(rounds) for rounds in measured)
        bar = self._progress.add_task("", total=total)
        for go, name in itertools.product(range(self.plan.goes), self._houses[0].loads):
            for house, rounds in zip(self._houses, measured, strict=True):
                self._progress.update(bar, description=f"go {go} of {self.plan.rounds}: {name}, {house.engines}")
                rounds[name].append(await self._go(house, name, go))
                self._progress.advance(bar)
        return [{name: rounds[1:] for name, rounds in each.items()} for each in measured]

    async def _go(self, house: House, name: str, go: int) -> Round:
        """Half of the batch alone, for the rate; half with as many hellos in between, for the cost."""
        load = house.loads[name]
        batch = load.batches[go]
        first, second = (batch[: len(batch) // 2], batch[len(batch) // 2 :]) if len(batch) > 1 else (batch, batch)
        seconds = self.plan.seconds if go else load.warm_up_seconds
        if name == "hello":
            alone = await self._crowd(name, load, batch, seconds, self._hello)
            return Round(alone.rate, *alone.micros * 3)
        alone = await self._crowd(name, load, first, seconds / 2, house.port)
        paired = await self._crowd(name, load, second, seconds, house.port, self._hello)
        micros, hello = paired.micros
        calls = await self._calls(house, name, load.calls[go], seconds) if load.calls else None
        return Round(alone.rate, alone.micros[0], micros, hello, calls)

    async def _crowd(self, name: str, load: Load, batch: list[bytes], seconds: float, *ports: int) -> Answered:
        servers = [f"{port}:{self._pids[port]}" for port in ports]
        argv = (self._write(batch), load.passes, seconds, load.status, *servers)
        output = await _output(Settings(), "crowd.py", *argv)
        answered = msgspec.json.decode(output, type=Answered)
        if answered.unexpected:
            raise SystemExit(f"{name}: not all were {load.status}: {answered.statuses}\n{answered.unexpected}")
        return answered

    async def _calls(self, house: House, name: str, batch: list[Any], seconds: float) -> float:
        output = await _output(house.settings, "calls.py", name, self._write(batch), seconds)
        called = msgspec.json.decode(output, type=Called)
        return called.cpu_seconds / called.calls * 1e6

    async def _publish(self, house: House) -> Published:
        output = await _output(house.settings, "publish.py", self.plan.seconds * 5)
        return msgspec.json.decode(output, type=Published)

    def _write(self, batch: list[Any]) -> Path:
        file = self.folder / "batch"
        file.write_bytes(msgspec.msgpack.encode(batch))
        return file


async def _output(settings: Settings, program: str, *args: object) -> bytes:
    """What the program printed. Raises SystemExit when it failed; it has said why."""
    argv = [sys.executable, str(HERE / program), *map(str, args)]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, env=environment(settings))
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{program} ended with {process.returncode}")
    return output


@app.command(
    epilog=examples(
        "python load/bench/bench.py                        # the whole run, some three minutes",
        "python load/bench/bench.py --quick                # a look, under a minute",
        "make bench ARGS='--json bench.json --seconds 3'",
        "make bench ARGS='--engines production'            # Redis and Kafka beside the embedded ones",
    )
)
def bench(
    json: Annotated[Path | None, typer.Option(help="Write the figures as JSON to this file.")] = None,
    seconds: Annotated[
        float, typer.Option(min=0.3, max=5, help="How long each line is loaded, in each of five rounds.")
    ] = 1.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="One round of half a second, 50,000 waiting; ends with 0.")
    ] = False,
    engines: Annotated[
        Engines, typer.Option(help="production: the same on Redis and Kafka too, in turns, and what they add.")
    ] = Engines.embedded,
) -> None:
    """Loads a real app process and prints what each kind of request costs it.

    The figure to look at is the CPU time of the app process for one request, user and system. It depends on what
    else the machine does (Redis and the crowd use the same caches), so it is compared with what depends on it as
    much: after every request its buyer says "hello" to a bare ASGI app in another process, on the same server
    settings. A poll may cost 1.67 hellos; a join, a hold, an order three hellos and its calls to Redis and the log,
    measured alone; a waiting buyer 130 bytes of Redis. Requests a second are measured without the hellos.

    On the production engines an order may cost twice what it costs on the embedded ones, everything else half as
    much again, and publishing may take 2 ms longer (half of the records, at 300 a second).

    Starts its own Valkey and servers, and stops them. Ends with 1 when a limit is broken.
    """
    names = ["embedded", *(["production"] if engines is Engines.production else [])]
    found = _run(Plan(0.5, 1, 50_000) if quick else Plan(seconds, 5, 1_000_000), names)
    console = Console()
    console.print(table(found))
    if found.production:
        console.print(comparison(found.production))
    if json:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    raise typer.Exit(0 if found.passed or quick else 1)


def _run(plan: Plan, engines: list[str]) -> Report:
    columns = (TextColumn("{task.description:<42}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="boxoffice-bench-") as folder, Progress(*columns, console=console) as bar:
        return uvloop.run(Bench(plan, Path(folder), bar, engines).run())


if __name__ == "__main__":
    app()
