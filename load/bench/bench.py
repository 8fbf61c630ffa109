"""What a request costs: CPU time of the app process, beside limits that are measured in the same run.

python load/bench/bench.py --help
"""

from __future__ import annotations

import asyncio
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
from boxoffice.embedded import Child, EmbeddedStore, answers, free_ports
from boxoffice.settings import Settings
from boxoffice.stack import environment
from boxoffice.store import Store
from calls import Called
from crowd import Answered
from figures import Report, Round, Rounds, report, table
from loads import Load, Plan, prepare

HERE = Path(__file__).parent

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Bench:
    """The servers under load, and who loads them, for the time of one run."""

    def __init__(self, plan: Plan, folder: Path, progress: Progress) -> None:
        self.plan, self.folder, self._progress = plan, folder, progress
        self._server = EmbeddedStore(folder / "valkey")
        self._hello, self._serve = free_ports(2)
        self._pids: dict[int, int] = {}

    async def run(self) -> Report:
        async with AsyncExitStack() as stack:
            settings = await self._start_store(stack)
            loads = await self._prepare(settings)
            await self._start(stack, settings, self._hello, "/", HERE / "hello.py", str(self._hello))
            await self._start(stack, settings, self._serve, "/readyz", "-m", "boxoffice", "serve")
            measured = await self._measure(loads)
        waiting = self.plan.waiting
        bar = self._progress.add_task(f"{waiting:,} buyers join, for the memory", total=waiting)
        found = await memory.measure(self.folder / "memory", waiting, lambda n: self._progress.advance(bar, n))
        return report(measured, found)

    async def _start_store(self, stack: AsyncExitStack) -> Settings:
        await self._server.start()
        stack.push_async_callback(self._server.stop)
        return Settings(
            store_url=self._server.url,
            keys="bench:" + "5a" * 32,
            place_key="a5" * 32,
            trusted_proxies="127.0.0.1/32",
            insecure_cookies=True,
            port=self._serve,
        )

    async def _prepare(self, settings: Settings) -> dict[str, Load]:
        bar = self._progress.add_task("buyers join, are called, and hold", total=4)
        store = await Store.open(settings)
        try:
            await store.execute("CONFIG", "SET", "appendfsync", "everysec")  # what is measured is not the disk
            return await prepare(store, settings, self.plan, lambda: self._progress.advance(bar))
        finally:
            await store.close()

    async def _start(self, stack: AsyncExitStack, settings: Settings, port: int, path: str, *argv: str | Path) -> None:
        child = Child(f"server-{port}", [sys.executable, *argv], self.folder / f"{port}.log", environment(settings))
        stack.push_async_callback(child.stop)
        await child.start(lambda: answers(f"http://127.0.0.1:{port}{path}"))
        self._pids[port] = child.pid

    async def _measure(self, loads: dict[str, Load]) -> dict[str, Rounds]:
        """Every line once, then every line again: whoever else loads the machine disturbs them all alike."""
        measured: dict[str, Rounds] = {name: [] for name in loads}
        bar = self._progress.add_task("", total=self.plan.goes * len(loads))
        for go in range(self.plan.goes):
            for name, load in loads.items():
                self._progress.update(bar, description=f"go {go} of {self.plan.rounds}: {name}")
                measured[name].append(await self._go(name, load, go))
                self._progress.advance(bar)
        return {name: rounds[1:] for name, rounds in measured.items()}

    async def _go(self, name: str, load: Load, go: int) -> Round:
        """Half of the batch alone, for the rate; half with as many hellos in between, for the cost."""
        batch = load.batches[go]
        first, second = (batch[: len(batch) // 2], batch[len(batch) // 2 :]) if len(batch) > 1 else (batch, batch)
        seconds = self.plan.seconds if go else load.warm_up_seconds
        if name == "hello":
            alone = await self._crowd(name, load, batch, seconds, self._hello)
            return Round(alone.rate, *alone.micros * 3)
        alone = await self._crowd(name, load, first, seconds / 2, self._serve)
        paired = await self._crowd(name, load, second, seconds, self._serve, self._hello)
        micros, hello = paired.micros
        calls = await self._calls(name, load.calls[go], seconds) if load.calls else None
        return Round(alone.rate, alone.micros[0], micros, hello, calls)

    async def _crowd(self, name: str, load: Load, batch: list[bytes], seconds: float, *ports: int) -> Answered:
        servers = [f"{port}:{self._pids[port]}" for port in ports]
        output = await _output("crowd.py", self._write(batch), load.passes, seconds, load.status, *servers)
        answered = msgspec.json.decode(output, type=Answered)
        if answered.unexpected:
            raise SystemExit(f"{name}: not all were {load.status}: {answered.statuses}\n{answered.unexpected}")
        return answered

    async def _calls(self, name: str, batch: list[Any], seconds: float) -> float:
        output = await _output("calls.py", self._server.url, name, self._write(batch), seconds)
        called = msgspec.json.decode(output, type=Called)
        return called.cpu_seconds / called.calls * 1e6

    def _write(self, batch: list[Any]) -> Path:
        file = self.folder / "batch"
        file.write_bytes(msgspec.msgpack.encode(batch))
        return file


async def _output(program: str, *args: object) -> bytes:
    """What the program printed. Raises SystemExit when it failed; it has said why."""
    argv = [sys.executable, str(HERE / program), *map(str, args)]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{program} ended with {process.returncode}")
    return output


@app.command(
    epilog=examples(
        "python load/bench/bench.py                        # the whole run, some three minutes",
        "python load/bench/bench.py --quick                # a look, under a minute",
        "make bench ARGS='--json bench.json --seconds 3'",
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
) -> None:
    """Loads a real app process and prints what each kind of request costs it.

    The figure to look at is the CPU time of the app process for one request, user and system. It depends on what
    else the machine does (Redis and the crowd use the same caches), so it is compared with what depends on it as
    much: after every request its buyer says "hello" to a bare ASGI app in another process, on the same server
    settings. A poll may cost 1.67 hellos; a join, a hold, an order three hellos and its calls to Redis and the log,
    measured alone; a waiting buyer 130 bytes of Redis. Requests a second are measured without the hellos.

    Starts its own Valkey and servers, and stops them. Ends with 1 when a limit is broken.
    """
    found = _run(Plan(0.5, 1, 50_000) if quick else Plan(seconds, 5, 1_000_000))
    Console().print(table(found))
    if json:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    raise typer.Exit(0 if found.passed or quick else 1)


def _run(plan: Plan) -> Report:
    columns = (TextColumn("{task.description:<42}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="boxoffice-bench-") as folder, Progress(*columns, console=console) as bar:
        return uvloop.run(Bench(plan, Path(folder), bar).run())


if __name__ == "__main__":
    app()
