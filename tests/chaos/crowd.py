"""Buyers who want one seat each, do as they are told, and never lose patience with a server that is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2

from boxoffice.witnesses import Story, Told
from tests.integration.buyer import Buyer
from tests.integration.house import House

PATIENCE_SECONDS = 180.0
"""A buyer's whole night; whoever is not done then has lost something."""

FINAL = ("paid", "declined", "refused", "refunded")


class Ended(Exception):
    """A buyer's night ends here, and should not have; the message says why."""


class Guest:
    """One buyer, and the story of its night as verdict.py takes it."""

    def __init__(self, house: House, sale: str, nth: int) -> None:
        self.end = ""
        """`paid`, or what came instead; empty while it lasts."""
        self.accepted: dict[str, str] = {}
        """Orders that were answered 202, and the last state heard of each."""
        self.surprises: list[str] = []
        """Answers that no fault excuses."""
        self.joined_at = self.paid_at = 0.0
        self.era = 0
        """How often Redis had been rebuilt when this one came in."""
        self._house = house
        self._buyer: Buyer = house.buyer(nth, sale)
        self._nth = self._pod = nth
        self._called_at_ms = 0
        self._told: list[Told] = []

    @property
    def story(self) -> Story:
        return Story(
            buyer=self._nth, number=self._buyer.number, called_at_ms=self._called_at_ms, orders=self._told, end=self.end
        )

    @property
    def unsettled(self) -> bool:
        return any(state not in FINAL for state in self.accepted.values())

    async def live(self, era: Callable[[], int]) -> None:
        """From the street to the ticket."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._enter()
                await self._go_in(era)
                await self._buy()
            self.end = "paid"
            self.paid_at = time.monotonic()
        except Ended as end:
            self.end = str(end)
        except TimeoutError:
            self.end = "stuck"

    async def _ask(self, step: str, ask: Callable[[], Awaitable[httpx2.Response]], *good: int) -> httpx2.Response:
        """Again and again, at the next pod, while nobody answers or the answer is: later."""
        while True:
            try:
                answer = await ask()
            except httpx2.TransportError:
                await asyncio.sleep(0.1)
            else:
                if answer.status_code in good:
                    return answer
                if answer.status_code not in (429, 503):
                    self.surprises.append(f"{step}: {answer.status_code} {answer.text[:200]}")
                await asyncio.sleep(min(1.0, float(answer.headers.get("retry-after", 1))))
            self._pod += 1
            self._buyer.url = self._house.stack.urls[self._pod % len(self._house.stack.urls)]

    async def _enter(self) -> None:
        self.joined_at = time.monotonic()
        await self._ask("join", self._buyer.join, 200, 201)

    async def _go_in(self, era: Callable[[], int]) -> None:
        while True:
            where = await self._ask("poll", self._buyer.whereabouts, 200, 401, 409, 410)
            state = where.json().get("state") or where.json()["code"]
            if state == "called" and await self._claim(era):
                return
            if state not in ("prequeue", "waiting", "called"):
                raise Ended(f"place lost: {state}")
            await asyncio.sleep(float(where.headers.get("retry-after", 1)) / 2)

    async def _claim(self, era: Callable[[], int]) -> bool:
        """Whether it is inside; else it polls on."""
        answer = await self._ask("claim", self._buyer.claim, 201, 401, 410, 425)
        if answer.status_code == 201:
            self._called_at_ms, self.era = answer.json()["calledAtMs"], era()
            return True
        if (code := answer.json()["code"]) not in ("not_called", "crowded", "ticket_stale"):
            raise Ended(f"place lost: {code}")
        return False

    async def _buy(self) -> None:
        """A hold that was lost with a second of Redis is taken again; a payment keeps its key until it is answered."""
        while True:
            held = await self._ask("hold", self._buyer.hold, 201, 403, 409, 410)
            if held.status_code != 201:
                raise Ended(f"place lost: {held.json()['code']}")
            if order := await self._pay(held.json()["id"]):
                break
        settled = await self._settled(order)
        if settled["state"] != "paid":
            raise Ended(settled["state"])

    async def _pay(self, hold: str) -> str:
        """The order; empty when the hold is gone."""
        key = f"{self._nth} {hold}"
        while True:
            answer = await self._ask("pay", lambda: self._buyer.pay(hold, key), 202, 403, 409)
            if answer.status_code == 202:
                self.accepted[answer.json()["id"]] = answer.json()["state"]
                return str(answer.json()["id"])
            if answer.json()["code"] == "hold_gone":
                return ""
            if answer.json()["code"] != "publishing":
                raise Ended(f"place lost: {answer.json()['code']}")
            await asyncio.sleep(0.5)

    async def _settled(self, order: str) -> dict[str, Any]:
        path = f"/orders/{order}"
        while True:
            answer = await self._ask("order", lambda: self._buyer.send("GET", path, self._buyer.admission), 200, 404)
            if (state := answer.json().get("state")) in FINAL:
                self._hear(answer.json())
                self.accepted[order] = state
                return dict(answer.json())
            await asyncio.sleep(0.2)

    def _hear(self, order: dict[str, Any]) -> None:
        told = Told(id=order["id"], state=order["state"], seats=order["seats"], amount_minor=order["amountMinor"])
        self._told.append(told)


class Crowd:
    """So many guests at a time, a new one for each who is done, until the block ends; then the last go home."""

    def __init__(self, house: House, sale: str, concurrency: int, era: Callable[[], int], first: int) -> None:
        self.guests: list[Guest] = []
        self.healed: list[float] = []
        self._house, self._sale, self._era, self._next = house, sale, era, first
        self._stopping = False
        self._done = asyncio.Event()
        self._workers = [asyncio.create_task(self._work()) for _ in range(concurrency)]
        for worker in self._workers:
            worker.add_done_callback(lambda _: self._done.set())

    async def _work(self) -> None:
        while not self._stopping:
            guest = Guest(self._house, self._sale, self._next)
            self._next += 1
            self.guests.append(guest)
            await guest.live(self._era)
            self._done.set()

    @property
    def paid_count(self) -> int:
        return sum(guest.paid_at > 0 for guest in self.guests)

    async def paid(self, count: int, seconds: float = 120.0) -> None:
        """So many more have their ticket."""
        goal = self.paid_count + count
        await self._until(lambda: self.paid_count >= goal, seconds, f"{count} more are paid")

    async def heals(self, seconds: float = 120.0) -> float:
        """From now, when what was broken is back, until all that was accepted is settled and a newcomer has paid."""
        begun = time.monotonic()
        owed = [guest for guest in self.guests if guest.unsettled]

        def healed() -> bool:
            newcomer = any(guest.paid_at and guest.joined_at > begun for guest in self.guests)
            return newcomer and not any(guest.unsettled for guest in owed)

        await self._until(healed, seconds, "all goes on")
        self.healed.append(time.monotonic() - begun)
        return self.healed[-1]

    async def _until(self, true: Callable[[], bool], seconds: float, what: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not true():
                    self._done.clear()
                    await self._done.wait()
                    self._raise_faults()
        except TimeoutError:
            ends = [guest.end for guest in self.guests if guest.end not in ("", "paid")]
            raise AssertionError(f"not within {seconds:.0f} s: {what}; {self.paid_count} paid, {ends}") from None

    def _raise_faults(self) -> None:
        """A worker ends by itself only when there is a mistake in it."""
        for worker in self._workers:
            if worker.done():
                worker.result()

    async def go_home(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._workers)

    async def vanish(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
