"""What a request costs: CPU time of the app process, beside limits that are measured in the same run.

python load/bench/bench.py --help
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import memory
import sent
from boxoffice.console import examples
from boxoffice.embedded import Child, EmbeddedStore, answers, free_ports
from boxoffice.settings import Settings
from boxoffice.stack import environment
from boxoffice.store import Store
from calls import Called
from crowd import Answered
from figures import Report, Round, report, table
from scene import Scene

HERE = Path(__file__).parent
WARM_UP_SECONDS = 0.3
MOST_BUYERS_A_ROUND = 3000
ENDLESS = 10_000_000

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Plan(msgspec.Struct, frozen=True):
    """How long, how often, how many."""

    seconds: float
    rounds: int
    waiting: int

    @property
    def goes(self) -> int:
        """The first go of every line warms it up and is not counted."""
        return self.rounds + 1

    @property
    def polls(self) -> int:
        """Tickets a round; each may poll twice before it is told that this is too early."""
        return int(15_000 * self.seconds)

    @property
    def buyers(self) -> int:
        """Holds or orders a round."""
        return min(MOST_BUYERS_A_ROUND, int(1500 * self.seconds))


class Load(msgspec.Struct, frozen=True):
    """What one line of the table sends: a batch a go, each so many times over."""

    batches: Sequence[list[bytes]]
    passes: int = 1
    status: int = 200


class Bench:
    """The servers under load, and who loads them, for the time of one run."""

    def __init__(self, plan: Plan, folder: Path, progress: Progress) -> None:
        self.plan, self.folder, self._progress = plan, folder, progress
        self._server = EmbeddedStore(folder / "valkey")
        self._pids: dict[int, int] = {}

    async def run(self) -> Report:
        async with AsyncExitStack() as stack:
            served, called = await self._under_load(stack)
        bar = self._progress.add_task("buyers join for the memory", total=self.plan.waiting)
        found = await memory.measure(
            self.folder / "memory", self.plan.waiting, lambda n: self._progress.advance(bar, n)
        )
        return report(served, called, found)

    async def _under_load(self, stack: AsyncExitStack) -> tuple[dict[str, list[Round]], dict[str, list[Round]]]:
        await self._server.start()
        stack.push_async_callback(self._server.stop)
        hello, serve = free_ports(2)
        settings = Settings(
            store_url=self._server.url,
            keys="bench:" + "5a" * 32,
            place_key="a5" * 32,
            trusted_proxies="127.0.0.1/32",
            insecure_cookies=True,
            port=serve,
        )
        loads, alone = await self._prepare(settings)
        await self._start(stack, hello, "/", settings, HERE / "hello.py", str(hello))
        await self._start(stack, serve, "/readyz", settings, "-m", "boxoffice", "serve")
        return await self._measure(loads, alone, hello, serve)

    async def _start(self, stack: AsyncExitStack, port: int, path: str, settings: Settings, *argv: str | Path) -> None:
        child = Child(f"server-{port}", [sys.executable, *argv], self.folder / f"{port}.log", environment(settings))
        stack.push_async_callback(child.stop)
        await child.start(lambda: answers(f"http://127.0.0.1:{port}{path}"))
        self._pids[port] = child.pid

    async def _prepare(self, settings: Settings) -> tuple[dict[str, Load], dict[str, list[list[Any]]]]:
        """The requests of every line, and the arguments of the calls alone, a batch a go."""
        plan, bar = self.plan, self._progress.add_task("buyers come: they join, are called, hold", total=5)
        store = await Store.open(settings)
        scene = await Scene.open(store, settings)
        waiting = await scene.waiting(plan.polls * plan.goes)
        self._progress.advance(bar)
        people = []
        for who in (scene.inside, scene.inside, scene.holding, scene.holding):
            people.append(await who(plan.buyers * plan.goes))
            self._progress.advance(bar)
        await store.close()
        choosing, choosing_alone, paying, paying_alone = people
        requests = sent.Requests(scene, "visitor")
        new = range(int(20_000 * plan.seconds) * plan.goes)
        loads = {
            "hello": self._same(requests.hello()),
            "line": self._same(requests.line()),
            "whereabouts": Load(self._batches([requests.whereabouts(b) for b in waiting]), passes=2),
            "seatMap": self._same(requests.seat_map()),
            "join": Load(self._batches([requests.join(i) for i in new]), status=201),
            "hold": Load(self._batches([requests.hold(b) for b in choosing]), status=201),
            "order": Load(self._batches([requests.order(b) for b in paying]), status=202),
            "refused": self._same(requests.refused(waiting[0]), 401),
        }
        alone = {
            "join": self._batches(sent.join_args(new)),
            "hold": self._batches(sent.hold_args(choosing_alone)),
            "order": self._batches(sent.order_args(scene, paying_alone)),
        }
        return loads, alone

    def _same(self, request: bytes, status: int = 200) -> Load:
        return Load([[request]] * self.plan.goes, ENDLESS, status)

    def _batches(self, items: list[Any]) -> list[list[Any]]:
        size = len(items) // self.plan.goes
        return [items[i * size : (i + 1) * size] for i in range(self.plan.goes)]

    async def _measure(
        self, loads: dict[str, Load], alone: dict[str, list[list[Any]]], hello: int, serve: int
    ) -> tuple[dict[str, list[Round]], dict[str, list[Round]]]:
        """Every line once, then every line again: whoever else loads the machine disturbs them all alike."""
        served: dict[str, list[Round]] = defaultdict(list)
        called: dict[str, list[Round]] = defaultdict(list)
        bar = self._progress.add_task("", total=self.plan.goes * (len(loads) + len(alone)))
        for go in range(self.plan.goes):
            seconds = self.plan.seconds if go else WARM_UP_SECONDS
            for name, load in loads.items():
                self._progress.update(bar, advance=1, description=f"go {go} of {self.plan.rounds}: {name}")
                port = hello if name == "hello" else serve
                served[name].append(await self._crowd(name, port, load, go, seconds))
                if name in alone:
                    self._progress.update(bar, advance=1)
                    called[name].append(await self._calls(name, alone[name][go], seconds))
        return _counted(served), _counted(called)

    async def _crowd(self, name: str, port: int, load: Load, go: int, seconds: float) -> Round:
        file = self._write(load.batches[go])
        output = await _output("crowd.py", port, self._pids[port], file, load.passes, seconds, load.status)
        a = msgspec.json.decode(output, type=Answered)
        if a.unexpected:
            raise SystemExit(f"{name}: answers by status {a.statuses}; the first unexpected one:\n{a.unexpected}")
        return Round(a.requests / a.seconds, a.cpu_seconds / a.requests * 1e6)

    async def _calls(self, name: str, batch: list[Any], seconds: float) -> Round:
        output = await _output("calls.py", self._server.url, name, self._write(batch), seconds)
        c = msgspec.json.decode(output, type=Called)
        return Round(c.calls / c.seconds, c.cpu_seconds / c.calls * 1e6)

    def _write(self, batch: list[Any]) -> Path:
        file = self.folder / "batch"
        file.write_bytes(msgspec.msgpack.encode(batch))
        return file


def _counted(goes: dict[str, list[Round]]) -> dict[str, list[Round]]:
    return {name: rounds[1:] for name, rounds in goes.items()}


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
        "python load/bench/bench.py                        # the whole run, about three minutes",
        "python load/bench/bench.py --quick                # a look, under a minute",
        "make bench ARGS='--json bench.json --seconds 4'",
    )
)
def bench(
    json: Annotated[Path | None, typer.Option(help="Write the figures as JSON to this file.")] = None,
    seconds: Annotated[
        float, typer.Option(min=0.2, max=10, help="How long each line is loaded, in each of three rounds.")
    ] = 2.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="One round of half a second, 50,000 waiting; ends with 0.")
    ] = False,
) -> None:
    """Loads a real app process and prints what each kind of request costs it.

    The figure to look at is the CPU time of the app process for one request: unlike requests a second it hardly
    depends on what else the machine does. Beside it stand the limits, measured in the same run: a bare ASGI
    "hello" on the same server, and the calls to Redis and the log that the request makes, made alone. A poll may
    cost 1.67 hellos; a join, a hold, an order three hellos and its calls; a waiting buyer 130 bytes of Redis.
    Starts its own Valkey and servers, and stops them. Ends with 1 when a limit is broken.
    """
    plan = Plan(0.5, 1, 50_000) if quick else Plan(seconds, 3, 1_000_000)
    found = _run(plan)
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
