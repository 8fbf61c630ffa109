"""What the crowd finds: two sales, with buyers in line and buyers inside.

All of it goes through the real scripts: places are joined, numbers called by beats, turns claimed, seats held.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from boxoffice import admission, holds, line, tokens
from boxoffice.board import Board
from boxoffice.identity import Places, new_visitor
from boxoffice.sale import record_of
from boxoffice.seating import Seating
from boxoffice.settings import Settings
from boxoffice.snapshot import View
from boxoffice.spec import AbuseSpec, AdmissionSpec, HoldSpec, LineSpec, SeatingSpec, Section, Spec
from boxoffice.store import Store
from boxoffice.tokens import Admission, KeyRing, Ticket

LINE_SALE, HALL_SALE = "bench-line", "bench-hall"
"""In the first buyers wait, ten are called a second; in the second everybody is inside."""

BLOCKS, ROWS, SEATS_PER_ROW = 40, 50, 50
SEATS_A_BUYER = 2
AT_ONCE = 1000

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Buyer:
    """Someone in line, or inside with seats in mind."""

    visitor: str
    ticket: Ticket
    admission: Admission | None = None
    seats: tuple[int, ...] = ()
    hold: str = ""


def spec(per_minute: int, rows: int = ROWS) -> Spec:
    """A stadium on sale since a minute ago, whose limits no single machine's load reaches."""
    now = datetime.now(UTC)
    blocks = [
        Section(name=f"block-{i:02d}", rows=rows, seats_per_row=SEATS_PER_ROW, price_minor=12100)
        for i in range(1, BLOCKS + 1)
    ]
    return Spec(
        concert="bench",
        title="A house full of engineers",
        venue="Here",
        currency="KRW",
        pre_queue_time=now - timedelta(minutes=2),
        opens_time=now - timedelta(minutes=1),
        closes_time=now + timedelta(days=1),
        seating=SeatingSpec(sections=blocks),
        line=LineSpec(max_waiting=5_000_000, claim_seconds=600),
        admission=AdmissionSpec(mode="Manual", per_minute=per_minute, max_active=1_000_000, session_seconds=3600),
        hold=HoldSpec(seconds=3600, max_seats_per_buyer=4),
        abuse=AbuseSpec(joins_per_minute_per_address=100_000),
    )


async def put_on_sale(store: Store, name: str, what: Spec) -> None:
    """As `boxoffice sale apply`, without a ledger."""
    seating, text = Seating.of(what), msgspec.json.encode(what)
    identity = ("", secrets.token_hex(16), seating.digest, seating.total, text, 0, what.admission.initial_active)
    await store.call("apply", name, *identity, *record_of(what))
    await store.add_name(name)


async def each(function: Callable[[T], Awaitable[U]], items: Iterable[T]) -> list[U]:
    """The function of every item, so many at once."""
    done: list[U] = []
    rest = iter(items)
    while chunk := list(itertools.islice(rest, AT_ONCE)):
        done += await asyncio.gather(*map(function, chunk))
    return done


def address(index: int) -> str:
    return f"10.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}"


class Scene:
    """Buyers for both sales. Use `open`."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.keys = KeyRing(settings.keys)
        self._places = Places(settings)
        self._board = Board(store)
        self._seats = itertools.count()

    @classmethod
    async def open(cls, store: Store, settings: Settings) -> Scene:
        scene = cls(store, settings)
        await put_on_sale(store, LINE_SALE, spec(per_minute=600))
        await put_on_sale(store, HALL_SALE, spec(per_minute=1_000_000))
        await scene._until(lambda: all(scene.view(name).epoch == 2 for name in (LINE_SALE, HALL_SALE)))
        return scene

    def view(self, sale: str) -> View:
        return self._board.views[sale]

    async def _until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            await self._board.beat()
            while not reached():
                await asyncio.sleep(0.25)
                await self._board.beat()

    async def waiting(self, count: int, sale: str = LINE_SALE) -> list[Buyer]:
        """So many more in line."""
        return await each(lambda i: self._enter(sale, i), range(count))

    async def _enter(self, sale: str, index: int) -> Buyer:
        view, visitor = self.view(sale), new_visitor()
        place, bound = self._places.place(view.uid, b"visitor", visitor), tokens.binding(visitor)
        ticket, _, _ = await line.join(self.store, view, self.keys, place, address(index), "", bound)
        return Buyer(visitor, ticket)

    async def inside(self, count: int) -> list[Buyer]:
        """So many more inside, each with other seats in mind."""
        entered = await self.waiting(count, HALL_SALE)
        last = max(buyer.ticket.number for buyer in entered)
        await self._until(lambda: self.view(HALL_SALE).called >= last)
        return await each(self._claim, entered)

    async def _claim(self, buyer: Buyer) -> Buyer:
        admitted, _ = await admission.claim(self.store, self.view(HALL_SALE), buyer.ticket)
        seats = tuple(itertools.islice(self._seats, SEATS_A_BUYER))
        return Buyer(buyer.visitor, buyer.ticket, admitted, seats)

    async def holding(self, count: int) -> list[Buyer]:
        """So many more inside, who hold their seats."""
        return await each(self._hold, await self.inside(count))

    async def _hold(self, buyer: Buyer) -> Buyer:
        assert buyer.admission
        wanted = holds.HoldRequest(seats=self.names(buyer))
        hold = await holds.take(self.store, self.view(HALL_SALE), buyer.admission, wanted)
        return Buyer(buyer.visitor, buyer.ticket, buyer.admission, buyer.seats, hold.id)

    def names(self, buyer: Buyer) -> list[str]:
        return [self.view(HALL_SALE).seating.name(seat) for seat in buyer.seats]
