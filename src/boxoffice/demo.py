"""`boxoffice demo`: a crowd, a house, and whether everything that was promised is true afterwards."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from rich.console import Console

from boxoffice import report as reports
from boxoffice.crowd import FAVOURITES, STORIES, Crowd
from boxoffice.embedded import Stopped, data_folder, shipped
from boxoffice.engines import KINDS, Kind
from boxoffice.errors import BadInput
from boxoffice.progress import Progress
from boxoffice.report import Report
from boxoffice.sale import ConcertSale, dump_sale, parse_sales
from boxoffice.seating import Seating
from boxoffice.spec import SeatingSpec, Section
from boxoffice.stack import Stack
from boxoffice.verdict import favourite_count, judge
from boxoffice.witnesses import Evidence, read_books, read_charges, read_stories

PORTS = (8083, 8084, 8085)
"""Of the first pod, `admin` and `settle`, where they are free: easy to remember."""

PREQUEUE_SECONDS = 4
OPEN_HOURS = 2
LOOK_SECONDS = 0.5
SETTLE_SECONDS = 60.0


@dataclass(kw_only=True)
class Demo:
    buyers: int
    seats: int
    seed: int
    engines: Kind = Kind.embedded
    report: Path | None = None
    data_dir: Path | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    """Other shares of buyers than load/flow.js has, by its names."""
    console: Console = field(default_factory=lambda: Console(highlight=False))

    async def run(self) -> bool:
        """Whether every promise was kept. Raises BadInput, Stopped."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _own_task().cancel)
        folder, failed = data_folder("boxoffice-demo-", self.data_dir), True
        try:
            failed = not await self._play(folder)
        except (asyncio.CancelledError, BadInput):
            failed = False  # called off, or it could not begin: there is nothing to look into
            raise
        finally:
            self._tidy(folder, failed)
        return not failed

    async def _play(self, folder: Path) -> bool:
        engines = KINDS[self.engines](folder)
        self._say(f"starting {engines.names}, two serve, admin and settle in {folder}")
        async with Stack(folder, ports=PORTS, engines=engines) as stack:
            verdict = await self._race(stack)
            self._print(verdict)
            if self.console.is_terminal:
                await self._stay(stack)
        return verdict.kept

    def _tidy(self, folder: Path, failed: bool) -> None:
        if failed:
            self._say(f"data and logs are in {folder}")
        elif not self.data_dir:
            shutil.rmtree(folder)

    async def _race(self, stack: Stack) -> Report:
        """The sale itself, unless a process falls first."""
        selling = asyncio.create_task(self._sell(stack))
        falling = asyncio.create_task(stack.fallen())
        try:
            await asyncio.wait((selling, falling), return_when=asyncio.FIRST_COMPLETED)
            if not selling.done():
                child = falling.result()
                raise Stopped(f"{child.name} ended in the middle of the sale:\n{child.last_lines()}")
            return selling.result()
        finally:
            for task in (selling, falling):
                task.cancel()
            await asyncio.gather(selling, falling, return_exceptions=True)

    async def _sell(self, stack: Stack) -> Report:
        headers = {"Authorization": f"Bearer {stack.admin_token}"}
        async with httpx2.AsyncClient(base_url=f"{stack.admin_url}/admin/api", headers=headers, timeout=30) as admin:
            starts_at = time.time() + 3 + self.buyers / 1000
            opens_at = starts_at + PREQUEUE_SECONDS
            sale, other = self._resources(starts_at, opens_at)
            for resource in (sale, other):
                await _send(admin, resource)
            name = sale.metadata.name
            self._say(f"{self.buyers} buyers want {self.seats} seats of {sale.spec.title}")
            crowd = Crowd(self.buyers, self.seed, self.shares, stack.data_dir)
            await crowd.start(stack.urls, sale, starts_at)
            try:
                await self._watch(admin, name, crowd, opens_at)
            finally:
                await crowd.stop()
            await _settled(admin, name)
            differences = (await _ask(admin, "GET", f"/sales/{name}/audit"))["differences"]
        return judge(await self._evidence(stack, sale, opens_at, differences))

    def _resources(self, starts_at: float, opens_at: float) -> list[ConcertSale]:
        """The two concerts of the manifest, the first with this crowd's times and seats."""
        now = time.time()
        first, second = parse_sales(shipped("manifests", "concertsale-demo.yaml").read_bytes())
        seating = first.spec.seating
        if Seating(seating).total != self.seats:
            seating = house(self.seats, [section.price_minor for section in seating.sections])
        return [_timed(first, starts_at, opens_at, seating), _timed(second, now, now, second.spec.seating)]

    async def _watch(self, admin: httpx2.AsyncClient, name: str, crowd: Crowd, opens_at: float) -> None:
        ended = asyncio.create_task(crowd.wait())
        try:
            with Progress(self.console, opens_at, self.buyers) as progress:
                while not ended.done():
                    if sale := await _sale(admin, name):
                        progress.show(sale, crowd.done())
                    await asyncio.wait((ended,), timeout=LOOK_SECONDS)
            ended.result()
        finally:
            ended.cancel()

    async def _evidence(self, stack: Stack, sale: ConcertSale, opens_at: float, differences: list[Any]) -> Evidence:
        settings = stack.settings()
        books = await read_books(settings.ledger_url, sale.metadata.name)
        total = Seating.of(sale.spec).total
        return Evidence(
            buyers=self.buyers,
            seats=total,
            opened_ms=int(opens_at * 1000),
            sold_out_ms=books.last_paid_ms if len(books.tickets) == total else None,
            stories=read_stories(stack.data_dir / STORIES),
            tickets=books.tickets,
            amounts=books.amounts,
            charges=await read_charges(settings.gateway_url, books.uid),
            differences=[f"{difference['kind']}: {difference['text']}" for difference in differences],
        )

    def _print(self, verdict: Report) -> None:
        self._say("")
        reports.write(verdict, self._say)
        if self.report:
            document = {"buyers": self.buyers, "seats": self.seats, "seed": self.seed, **verdict.to_json()}
            self.report.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")

    async def _stay(self, stack: Stack) -> None:
        """A second concert is on sale: whoever sits at the terminal may buy, until Ctrl-C."""
        self._say("")
        self._say(f"  pages    {stack.urls[0]}/concerts")
        self._say(f"  admin    {stack.admin_url}/admin/dashboard")
        self._say(f"  token    {stack.admin_token}")
        command = "boxoffice" if shutil.which("boxoffice") else f"{sys.executable} -m boxoffice"
        self._say(f"  shell    . {stack.env_file}; {command} sale list")
        self._say("Ctrl-C ends it.")
        enough = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, enough.set)
        await enough.wait()

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)


def _own_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task
    return task


def house(seats: int, prices: list[int]) -> SeatingSpec:
    """Any number of seats, cut like the manifest's: a tenth are everybody's favourites, a fifth are standing."""
    favourites = favourite_count(seats)
    rows = (seats * 7 // 10) // 25
    standing = seats - favourites - rows * 25
    sections = [Section(name=FAVOURITES, rows=1, seats_per_row=favourites, price_minor=prices[0])]
    if rows:
        sections.append(Section(name="stalls", rows=rows, seats_per_row=25, price_minor=prices[1]))
    sections.append(Section(name="floor", capacity=standing, price_minor=prices[-1]))
    return SeatingSpec(sections=sections)


def _timed(sale: ConcertSale, starts_at: float, opens_at: float, seating: SeatingSpec) -> ConcertSale:
    opens = datetime.fromtimestamp(opens_at, UTC)
    spec = msgspec.structs.replace(
        sale.spec,
        pre_queue_time=datetime.fromtimestamp(starts_at, UTC),
        opens_time=opens,
        closes_time=opens + timedelta(hours=OPEN_HOURS),
        seating=seating,
    )
    return msgspec.structs.replace(sale, spec=spec)


async def _ask(admin: httpx2.AsyncClient, method: str, path: str, **request: Any) -> Any:
    """Raises Stopped when the admin port does not answer as it should."""
    try:
        answer = await admin.request(method, path, **request)
        return answer.raise_for_status().json()
    except httpx2.HTTPError as error:
        raise Stopped(f"{method} {path} on the admin port: {error}") from error


async def _send(admin: httpx2.AsyncClient, sale: ConcertSale) -> None:
    await _ask(admin, "POST", "/sales", content=dump_sale(sale).encode())


async def _sale(admin: httpx2.AsyncClient, name: str) -> dict[str, Any] | None:
    """None for the second that a new sale needs to be seen."""
    sales = (await _ask(admin, "GET", "/sales"))["sales"]
    return next((sale for sale in sales if sale["name"] == name), None)


async def _settled(admin: httpx2.AsyncClient, name: str) -> None:
    """Until no order is under way any more. Raises Stopped."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not (sale := await _sale(admin, name)) or sale["paying"]:
        if time.monotonic() > deadline:
            raise Stopped(f"orders are not settled {SETTLE_SECONDS:.0f} s after the last buyer")
        await asyncio.sleep(LOOK_SECONDS)
