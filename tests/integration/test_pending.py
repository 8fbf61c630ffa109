"""The log is out of reach while buyers pay: nothing that was promised is lost, and nothing is sent twice for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from boxoffice.admission import claim
from boxoffice.board import Board
from boxoffice.embedded import EmbeddedStore
from boxoffice.errors import Conflict, LogUnavailable, Unavailable
from boxoffice.eventlog import EventLog, Headers, Position, open_log
from boxoffice.holds import HoldRequest, take
from boxoffice.line import exchange, join
from boxoffice.payments import LEASE_MS, OrderRequest, Relay, place_order, read_order
from boxoffice.settings import Settings
from boxoffice.snapshot import View
from boxoffice.store import Store
from boxoffice.tokens import Admission, KeyRing
from tests.integration.house import SALE, resource
from tests.integration.pod import lay_out, settings_of


class Cut:
    """The real log behind a line that can be cut: before the record is taken, or after, with the answer lost."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.cut = ""

    async def publish(self, key: bytes, value: bytes, headers: Headers = ()) -> Position:
        if self.cut == "before":
            raise LogUnavailable("the line is cut")
        position = await self._log.publish(key, value, headers)
        if self.cut == "after":
            raise LogUnavailable("the answer was lost")
        return position

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)


class Till:
    """A pod's inside, with one buyer who holds a seat."""

    def __init__(self, settings: Settings, store: Store, log: Cut, board: Board) -> None:
        self.settings, self.store, self.log, self.board = settings, store, log, board
        self.admission: Admission
        self.hold = ""

    @property
    def view(self) -> View:
        return self.board.view(SALE)

    async def pay(self, key: str = "one") -> tuple[str, str, bool]:
        request = OrderRequest(self.hold, "pm_card_visa")
        order, again = await place_order(self.store, self.log, self.view, self.admission, key, request)  # type: ignore[arg-type]
        return order.id, order.state, again

    async def state(self, order: str) -> str:
        return (await read_order(self.store, self.view, self.admission.place, order)).state

    async def relay_until(self, order: str, state: str) -> None:
        relay = asyncio.create_task(Relay(self.store, self.log, self.board).run())  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(LEASE_MS / 1000 + 10):
                while await self.state(order) != state:
                    await asyncio.sleep(0.05)
        finally:
            relay.cancel()

    async def records(self) -> list[bytes]:
        log = await open_log(self.settings, self.store)
        ends = await log.ends()
        return [record.key for p, end in enumerate(ends) async for chunk in log.scan(p, 0, end) for record in chunk]

    async def enter(self) -> None:
        keys = KeyRing(self.settings.keys)
        ticket, _, _ = await join(self.store, self.view, keys, b"p" * 16, "10.0.0.1", "", b"b" * 16)
        async with asyncio.timeout(60):
            while self.view.called < 1:
                await self.board.beat()
                await asyncio.sleep(0.1)
        ticket = await exchange(self.store, self.view, ticket)
        self.admission, _ = await claim(self.store, self.view, ticket)
        self.hold = (await take(self.store, self.view, self.admission, HoldRequest(count=1))).id


@pytest.fixture
async def till(valkey: EmbeddedStore) -> AsyncIterator[Till]:
    async with open_till(valkey) as till:
        yield till


@asynccontextmanager
async def open_till(server: EmbeddedStore) -> AsyncIterator[Till]:
    settings = settings_of(server)
    store = await Store.open(settings)
    await lay_out(store, resource())
    board = Board(store)
    await board.beat()
    till = Till(settings, store, Cut(await open_log(settings, store)), board)
    await till.enter()
    yield till
    await store.close()


async def test_pending_while_the_log_is_away_then_published_by_the_relay(till: Till) -> None:
    till.log.cut = "before"
    order, state, again = await till.pay()
    assert (state, again) == ("pending", False)
    assert await till.records() == []
    till.log.cut = ""
    await till.relay_until(order, "accepted")
    assert await till.records() == [bytes.fromhex(order)]


async def test_the_buyers_own_repeat_publishes_when_the_log_is_back(till: Till) -> None:
    till.log.cut = "before"
    order, _, _ = await till.pay()
    till.log.cut = ""
    assert await till.pay() == (order, "accepted", True)
    assert await till.records() == [bytes.fromhex(order)]
    assert await till.pay() == (order, "accepted", True)
    assert await till.records() == [bytes.fromhex(order)]


async def test_an_answer_that_was_lost_is_the_same_order_in_the_log(till: Till) -> None:
    till.log.cut = "after"
    order, state, _ = await till.pay()
    assert state == "pending"
    till.log.cut = ""
    await till.relay_until(order, "accepted")
    assert set(await till.records()) == {bytes.fromhex(order)}, "settlement knows an order by its id"


async def test_pending_is_not_said_when_redis_cannot_promise_it(tmp_path: Path) -> None:
    """Without an append-only file, Redis' memory is no record."""
    server = EmbeddedStore(tmp_path / "valkey")
    await server.start()
    try:
        async with open_till(server) as till:
            till.log.cut = "before"
            await till.store.execute("CONFIG", "SET", "appendonly", "no")
            with pytest.raises(Unavailable, match="the same key"):
                await till.pay()
            till.log.cut = ""
            with pytest.raises(Conflict, match="being sent"):
                await till.pay()  # its lease runs; nothing was lost meanwhile
            unpublished = await till.store.execute("ZRANGE", till.store.key(SALE, "unpublished"), 0, 0)
            await till.relay_until(unpublished[0].decode(), "accepted")
    finally:
        await server.stop()
