"""A sale on real engines with a crowd at it, and what must be true of it whatever broke meanwhile."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from boxoffice.engines import Engines, Server, production
from boxoffice.errors import Unavailable
from boxoffice.stack import Stack
from boxoffice.tasks import end
from boxoffice.verdict import disagreements, inversions, oversold, twice_numbered
from boxoffice.witnesses import Evidence, read_books, read_charges, reading
from tests.chaos.crowd import Crowd, Guest
from tests.integration.house import SALE, House, open_house, resource

HEAL_SECONDS = 30.0
QUIET_SECONDS = 60.0
LOOK_SECONDS = 0.25
ROW = 100

S = TypeVar("S")


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What came of a night; all but `paid` and `seconds_to_heal` should be nothing."""

    paid: int
    seconds_to_heal: float | None
    """The longest; None when nobody waited for it."""
    oversold: int
    double_charges: int
    charged_without_ticket: int
    accepted_lost: int
    places_lost: int
    numbers_twice: int
    inversions: int
    dead_letters: int
    differences: list[str]
    """Of two audits after the last order."""
    problems: list[str]
    """What buyers, ledger and gateway say differently, and answers that no fault excuses."""

    @property
    def broken(self) -> dict[str, Any]:
        found = {name: value for name, value in asdict(self).items() if name not in ("paid", "seconds_to_heal")}
        slow = {} if (self.seconds_to_heal or 0) <= HEAL_SECONDS else {"seconds_to_heal": self.seconds_to_heal}
        return {name: value for name, value in found.items() if value} | slow

    def assert_clean(self) -> None:
        assert self.paid, "nobody bought anything"
        assert not self.broken, self.broken


class Watch:
    """Looks at every pod's line, four times a second: along its versions the number called never goes back."""

    def __init__(self, house: House, sale: str) -> None:
        self.era = 0
        self._house, self._sale = house, sale
        self._seen: set[tuple[int, int]] = set()
        self._recovering = False
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            for pod in range(len(self._house.stack.urls)):
                await self._look(pod)
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self, pod: int) -> None:
        try:
            line = await self._house.line(self._sale, pod)
        except (httpx2.TransportError, ValueError):
            return
        if "version" in line:
            self._seen.add((line["version"], line["called"]))
            recovering = line["state"] == "recovering"
            self.era += recovering and not self._recovering
            self._recovering = recovering

    async def end(self) -> int:
        """How often it went back."""
        await end([self._task])
        count, highest = 0, 0
        for _, called in sorted(self._seen):
            count += called < highest
            highest = max(highest, called)
        return count


class Night:
    def __init__(self, house: House, seats: int, sale: str = SALE, letters: int = 0) -> None:
        """`letters`: how many were in the dead letters before."""
        self.house, self.sale = house, sale
        self._seats, self._letters = seats, letters
        self.watch = Watch(house, sale)
        self._crowds: list[Crowd] = []

    @property
    def stack(self) -> Stack:
        return self.house.stack

    @property
    def guests(self) -> list[Guest]:
        return [guest for crowd in self._crowds for guest in crowd.guests]

    def engine(self, kind: type[S]) -> S:
        return next(server for server in self.stack.engines.servers if isinstance(server, kind))

    async def orders(self, columns: str) -> list[Any]:
        """Of this sale, as the ledger has them."""
        return await self.house.ledger(f"SELECT {columns} FROM orders WHERE sale = :sale", sale=self.sale)

    @asynccontextmanager
    async def otherwise(self, name: str, **env: str) -> AsyncIterator[None]:
        """One of our processes with another environment, until the block ends."""
        child = self.stack.child(name)
        assert child.env is not None
        usual = dict(child.env)
        child.env |= env
        await self.stack.restart(name)
        yield
        child.env = usual
        await self.stack.restart(name)

    @asynccontextmanager
    async def crowd(self, concurrency: int = 20) -> AsyncIterator[Crowd]:
        crowd = Crowd(self.house, self.sale, concurrency, lambda: self.watch.era, first=len(self.guests))
        self._crowds.append(crowd)
        try:
            yield crowd
            await crowd.go_home()
        finally:
            await crowd.vanish()

    async def close(self) -> Findings:
        """When the crowds have gone and no order is under way any more."""
        went_back = await self.watch.end()
        differences = await self._audit_twice()
        evidence = await self._evidence(differences)
        guests = self.guests
        ends = [guest.end for guest in guests]
        healed = [seconds for crowd in self._crowds for seconds in crowd.healed]
        twice = await self._charged_twice()
        ticketed = {ticket.order for ticket in evidence.tickets}
        return Findings(
            paid=ends.count("paid"),
            seconds_to_heal=round(max(healed), 1) if healed else None,
            oversold=oversold(evidence),
            double_charges=len(twice),
            charged_without_ticket=sum(charge.order not in ticketed for charge in evidence.charges),
            accepted_lost=sum(guest.unsettled for guest in guests),
            places_lost=sum(why.startswith(("place lost", "stuck")) for why in ends),
            numbers_twice=len(twice_numbered(evidence.stories)),
            inversions=went_back + _inversions(guests),
            dead_letters=await count_letters(self.house) - self._letters,
            differences=differences,
            problems=[*disagreements(evidence), *_problems(guests), *twice],
        )

    async def _audit_twice(self) -> list[str]:
        async with asyncio.timeout(QUIET_SECONDS):
            while await self._in_flight():
                await asyncio.sleep(LOOK_SECONDS)
        reports = [await self.house.audit(self.sale) for _ in range(2)]
        return [f"{d.kind}: {d.text}" for report in reports for d in report.differences]

    async def _in_flight(self) -> bool:
        try:
            return (await self.house.audit(self.sale)).in_flight > 0
        except Unavailable:
            return True

    async def _evidence(self, differences: Sequence[str]) -> Evidence:
        settings = self.stack.settings()
        books = await read_books(settings.ledger_url, self.sale)
        return Evidence(
            buyers=len(self.guests),
            seats=self._seats,
            opened_ms=0,
            sold_out_ms=None,
            stories=[guest.story for guest in self.guests],
            tickets=books.tickets,
            amounts=books.amounts,
            charges=await read_charges(settings.gateway_url, books.uid),
            differences=differences,
        )

    async def _charged_twice(self) -> list[str]:
        """Everybody means to buy once: whoever paid for two orders was charged twice, whatever their ids."""
        [(uid,)] = await self.house.ledger("SELECT uid FROM sales WHERE name = :sale", sale=self.sale)
        paid = "SELECT buyer, count(*) FROM charges WHERE state = 'paid' AND sale_uid = :uid"
        async with reading(self.stack.settings().gateway_url) as ask:
            twice = await ask(f"{paid} GROUP BY buyer HAVING count(*) > 1", uid=uid)
        return [f"buyer {buyer} was charged {count} times" for buyer, count in twice]


async def count_letters(house: House) -> int:
    return len(await house.ledger("SELECT id FROM dead_letters"))


def _inversions(guests: Iterable[Guest]) -> int:
    """By the times of the calls; a rebuilt Redis may not know them any more, so each of its lives counts for itself."""
    guests = list(guests)
    return sum(inversions([g.story for g in guests if g.era == era]) for era in {g.era for g in guests})


def _problems(guests: Iterable[Guest]) -> list[str]:
    """In words: the ends that nobody should come to, and the strange answers on the way."""
    ends = [f"buyer {g.story.buyer}: {g.end}" for g in guests if g.end not in ("paid", "refused")]
    return [*ends, *(f"buyer {g.story.buyer}: {surprise}" for g in guests for surprise in g.surprises)]


@asynccontextmanager
async def open_night(
    folder: Path,
    *,
    seats: int = 3000,
    active: int = 200,
    serve_processes: int = 2,
    settle_processes: int = 1,
    engines: Engines | None = None,
    redis: Server | None = None,
    kafka: Server | None = None,
    mysql: Server | None = None,
    **changes: Any,
) -> AsyncIterator[Night]:
    """A sale that is open, on the production engines or on those given; `changes` are settings."""
    engines = engines or production(folder)
    engines = replace(engines, store=redis or engines.store, log=kafka or engines.log, ledger=mysql or engines.ledger)
    changes = {"gateway_latency_ms": 1, **changes}
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(
            open_house(folder, serve_processes, settle_processes=settle_processes, engines=engines, **changes)
        )
        await house.apply(sale_of(seats, active))
        night = Night(house, seats)
        stack.push_async_callback(night.watch.end)
        yield night


def sale_of(seats: int, active: int, name: str = SALE) -> dict[str, Any]:
    rows = {"name": "stalls", "rows": math.ceil(seats / ROW), "seatsPerRow": ROW, "priceMinor": 1000}
    return resource(
        name=name,
        seating={"sections": [rows]},
        admission={"initialActive": active, "maxActive": 1000, "sessionSeconds": 600},
    )
