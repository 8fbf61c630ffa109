"""How many orders a second one settle process takes from Kafka into MySQL, beside a limit taken in the same run.

python load/bench/settle.py --help
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import sqlalchemy as sa
import typer
import uvloop
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import inserts
import sent
from boxoffice.console import examples
from boxoffice.embedded import Child, answers
from boxoffice.eventlog import EventLog, open_log, prepare_log
from boxoffice.ledger import Ledger, open_ledger
from boxoffice.local.kafka import LocalKafka
from boxoffice.local.mysql import LocalMySql
from boxoffice.local.redis import LocalRedis
from boxoffice.migrations import migrate
from boxoffice.payments import OrderRequest, place_order
from boxoffice.ports import free_ports
from boxoffice.salerecords import now_ms
from boxoffice.settings import Settings
from boxoffice.stack import environment
from boxoffice.store import Store
from boxoffice.tables import sales
from crowd import cpu_clock
from paced import Paced
from scene import HALL_SALE, Buyer, Scene, each

HERE = Path(__file__).parent
PER_SECOND = 300
LEAST, SHARE, LEAST_SLOW = 5000, 0.6, 1000
LIMIT_DATABASE = "boxoffice_limit"
LOOK_SECONDS = 0.05
"""Between two looks at how far it is: each takes more than a millisecond of what is measured."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Plan(msgspec.Struct, frozen=True):
    """Orders in each line's backlog."""

    backlog: int
    loaded: int
    slow: int
    over_http: int


class Line(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`cpu_micros`: of CPU time an order, by process."""

    name: str
    per_second: int
    limit_per_second: int | None = None
    cpu_micros: dict[str, float]
    passed: bool


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    lines: list[Line]
    http: Paced
    passed: bool


class Servers:
    """Kafka, MySQL and Redis of our own, and what is kept in them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.kafka, self.mysql, self.redis = (
            LocalKafka(folder / "kafka"),
            LocalMySql(folder / "mysql"),
            LocalRedis(folder / "redis"),
        )
        self.pids: dict[str, int] = {}

    async def open(self, stack: AsyncExitStack) -> Settings:
        for server in (self.kafka, self.mysql, self.redis):
            stack.push_async_callback(server.stop)
            await server.start()
        self.pids = {"MySQL": self.mysql.pid, "Redis": self.redis.pid, "Kafka": self.kafka.pid}
        changes = self.kafka.changes | self.mysql.changes | self.redis.changes
        [port] = free_ports(1)
        return Settings(
            keys="bench:" + "5a" * 32,
            place_key="a5" * 32,
            trusted_proxies="127.0.0.1/32",
            insecure_cookies=True,
            port=port,
            settle_port=0,
            **changes,
        )


class Bench:
    def __init__(self, plan: Plan, folder: Path, say: Console) -> None:
        self._plan, self._folder, self._say = plan, folder, say
        self._servers = Servers(folder)

    async def run(self) -> Report:
        async with AsyncExitStack() as stack:
            self._settings = await self._servers.open(stack)
            self._store, self._log, self._ledger = await self._engines(stack)
            scene = await Scene.open(self._store, self._settings)
            await self._enter_sales(scene)
            plan = self._plan
            wanted = plan.backlog + plan.loaded + plan.slow + plan.over_http
            self._say.print(f"{wanted:,} buyers join, are called, and hold")
            self._scene, self._buyers = scene, await scene.holding(wanted)
            return await self._lines(stack)

    async def _engines(self, stack: AsyncExitStack) -> tuple[Store, EventLog, Ledger]:
        settings = self._settings
        store = await Store.open(settings)
        stack.push_async_callback(store.close)
        await store.execute("CONFIG", "SET", "appendfsync", "everysec")  # what is measured is not the disk of Redis
        await migrate(settings)
        await prepare_log(settings, store)
        log = await open_log(settings, store)
        stack.push_async_callback(log.close)
        ledger = await open_ledger(settings)
        stack.push_async_callback(ledger.close)
        return store, log, ledger

    async def _enter_sales(self, scene: Scene) -> None:
        """The hall's in the ledger; and tables like the ledger's for the limit, with a sale of their own."""
        view = scene.view(HALL_SALE)
        async with self._ledger.writing() as connection:
            spec = msgspec.json.encode(view.spec).decode()
            await connection.execute(sa.insert(sales), [_sale(view.uid.hex(), spec)])
            await connection.execute(sa.text(f"CREATE DATABASE {LIMIT_DATABASE}"))
        limit = replace(self._settings, ledger_url=self._servers.mysql.url_of("boxoffice", LIMIT_DATABASE))
        await migrate(limit)
        ledger = await open_ledger(limit)
        async with ledger.writing() as connection:
            await connection.execute(sa.insert(sales), [_sale(inserts.SALE_UID, "{}")])
        await ledger.close()

    async def _lines(self, stack: AsyncExitStack) -> Report:
        limit = await self._limit()
        alone = await self._settled("backlog", self._plan.backlog, 0)
        lines = [_line("from a backlog", alone, limit, alone[0] >= LEAST)]
        self._say.print(f"limit {limit:,.0f}, settled {alone[0]:,.0f} a second")
        slow = await self._settled("slow", self._plan.slow, 200)
        lines.append(_line("gateway of 200 ms", slow, None, slow[0] >= LEAST_SLOW))
        async with self._over_http(stack) as http:
            limit = await self._limit()
            loaded = await self._settled("loaded", self._plan.loaded, 0)
        lines.append(_line(f"with {PER_SECOND}/s over HTTP", loaded, limit, loaded[0] >= SHARE * limit))
        return Report(lines=lines, http=http[0], passed=all(line.passed for line in lines))

    async def _limit(self) -> float:
        """The better of one connection and as many as there are partitions."""
        rates = []
        for connections in (1, self._log.partitions):
            account = ("127.0.0.1", self._servers.mysql.port, "boxoffice", "boxoffice", LIMIT_DATABASE)
            async with self._ledger.writing() as connection:
                for table in ("tickets", "orders"):
                    await connection.execute(sa.text(f"DELETE FROM {LIMIT_DATABASE}.{table}"))
            argv: list[str | Path] = [HERE / "inserts.py", *map(str, account), str(self._plan.loaded), str(connections)]
            rates.append(float(await _output(argv)))
        return max(rates)

    async def _settled(self, name: str, count: int, latency_ms: int) -> tuple[float, dict[str, float]]:
        """Orders a second, from the first batch to the last of the backlog, and CPU microseconds an order."""
        start = await self._position()
        await each(self._pay, [self._buyers.pop() for _ in range(count)])
        argv: list[str | Path] = [sys.executable, HERE / "settler.py", str(latency_ms)]
        child = Child("settle", argv, self._folder / f"settle-{name}.log", environment(self._settings))
        await child.start()
        try:
            first = await self._until(start + 1, child)
            clocks = {who: cpu_clock(pid) for who, pid in {"settle": child.pid, **self._servers.pids}.items()}
            before, began = {who: time.clock_gettime(clock) for who, clock in clocks.items()}, time.monotonic()
            last = await self._until(start + count, child)
            seconds, done = time.monotonic() - began, last - first
            spent = {who: time.clock_gettime(clock) - before[who] for who, clock in clocks.items()}
            await self._until_all(child)
        finally:
            await child.stop()
        return done / seconds, {who: round(used / done * 1e6, 1) for who, used in spent.items()}

    async def _pay(self, buyer: Buyer) -> None:
        assert buyer.admission
        view, key = self._scene.view(HALL_SALE), secrets.token_urlsafe(16)
        request = OrderRequest(hold=buyer.hold, payment_method=sent.METHOD)
        await place_order(self._store, self._log, view, buyer.admission, key, request)

    async def _position(self) -> int:
        positions = await self._ledger.positions(self._log.topic, await self._log.log_id())
        return sum(settled for settled, _ in positions.values())

    async def _until(self, settled: int, child: Child) -> int:
        async with asyncio.timeout(120):
            while (now := await self._position()) < settled:
                assert child.running, child.last_lines()
                await asyncio.sleep(LOOK_SECONDS)
        return now

    async def _until_all(self, child: Child) -> None:
        """So that the next line begins with nothing left over, but for what comes in meanwhile."""
        await self._until(sum(await self._log.ends()), child)

    @asynccontextmanager
    async def _over_http(self, stack: AsyncExitStack) -> AsyncIterator[list[Paced]]:
        settings = self._settings
        argv = [sys.executable, "-m", "boxoffice", "serve"]
        serve = Child("serve", argv, self._folder / "serve.log", environment(settings))
        stack.push_async_callback(serve.stop)
        await serve.start(lambda: answers(f"http://127.0.0.1:{settings.port}/readyz"))
        file, found = self._folder / "requests", list[Paced]()
        requests = sent.Requests(self._scene, "visitor")
        orders = [requests.order(self._buyers.pop()) for _ in range(self._plan.over_http)]
        file.write_bytes(msgspec.msgpack.encode(orders))
        argv = [sys.executable, str(HERE / "paced.py"), str(file), str(PER_SECOND), str(settings.port)]
        paced = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
        try:
            yield found
        finally:
            if paced.returncode is None:
                paced.terminate()
            output, _ = await paced.communicate()
        found.append(msgspec.json.decode(output, type=Paced))


def _sale(uid: str, spec: str) -> dict[str, object]:
    return {
        "uid": uid,
        "name": HALL_SALE,
        "seating_digest": "1" * 64,
        "seats_total": 1_000_000,
        "spec": spec,
        "created_ms": now_ms(),
    }


def _line(name: str, settled: tuple[float, dict[str, float]], limit: float | None, passed: bool) -> Line:
    return Line(
        name=name,
        per_second=round(settled[0]),
        limit_per_second=None if limit is None else round(limit),
        cpu_micros=settled[1],
        passed=passed,
    )


async def _output(argv: list[str | Path]) -> bytes:
    process = await asyncio.create_subprocess_exec(sys.executable, *map(str, argv), stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{argv[0]} ended with {process.returncode}")
    return output


def table(found: Report) -> Table:
    http = f"Over HTTP: {found.http.statuses}, p50 {found.http.p50_ms} ms, p99 {found.http.p99_ms} ms."
    drawn = Table(title="Orders settled a second, by one process", box=SIMPLE_HEAD, caption=http)
    for heading in ("", "a second", "limit", "share", "settle", "MySQL", "Redis", "Kafka", ""):
        drawn.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for line in found.lines:
        limit = line.limit_per_second
        drawn.add_row(
            line.name,
            f"{line.per_second:,}",
            f"{limit:,}" if limit else "",
            f"{line.per_second / limit:.0%}" if limit else "",
            *(f"{micros:.0f} µs" for micros in line.cpu_micros.values()),
            "[green]PASS[/]" if line.passed else "[bold red]FAIL[/]",
        )
    return drawn


@app.command(
    epilog=examples(
        "python load/bench/settle.py                       # the whole run, some two minutes",
        "python load/bench/settle.py --quick --json settle.json",
    )
)
def settle(
    json: Annotated[Path | None, typer.Option(help="Write the figures as JSON to this file.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Shorter backlogs, under a minute; ends with 0.")] = False,
) -> None:
    """Lets buyers pay, then starts one settle process and sees how fast it works off what lies in Kafka.

    The limit is the same rows by multi-row insert in batches of 500 orders with nothing else. An order is a row of
    `orders` and two of `tickets`. CPU times are an order's, of each process. What must be reached: 5,000 a second from
    a backlog; 60 % of the limit, both taken while 300 orders a second come in over HTTP; 1,000 a second when the
    gateway takes 200 ms. Starts its own Kafka, MySQL and Redis, and stops them. Ends with 1 when a figure is missed.
    """
    plan = Plan(10_000, 6_000, 3_000, 9_000) if quick else Plan(15_000, 18_000, 5_000, 9_000)
    with tempfile.TemporaryDirectory(prefix="boxoffice-settle-") as folder:
        found = uvloop.run(Bench(plan, Path(folder), Console(stderr=True)).run())
    Console(width=120).print(table(found))
    if json:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    raise typer.Exit(0 if found.passed or quick else 1)


if __name__ == "__main__":
    app()
