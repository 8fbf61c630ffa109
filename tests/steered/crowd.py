"""Buyers who keep a line full: each waits, is called, comes or does not, thinks, pays, and waits for the ticket.

Thousands of them in one process beside all servers of the sale: HTTP by hand, a tenth of a client library's work.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from boxoffice.tasks import end

FINAL = ("paid", "declined", "refused", "refunded")
LATER = (425, 429, 503)
LOOK_SECONDS = 0.25


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: Any


class Pod:
    """Keep-alive connections, as many as are needed at a time."""

    def __init__(self, url: str) -> None:
        self._port = urlsplit(url).port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Once more where an idle connection turns out to be closed: keys and cookies make every step repeatable."""
        while True:
            reused = bool(self._idle)
            connection = self._idle.pop() if reused else await asyncio.open_connection("127.0.0.1", self._port)
            try:
                answer = await _exchange(*connection, method, path, headers, body)
            except (asyncio.IncompleteReadError, ConnectionError):
                connection[1].close()
                if not reused:
                    raise
            else:
                self._idle.append(connection)
                return answer

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
) -> Answer:
    fields = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    got = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    text = await reader.readexactly(int(got.get("content-length", 0)))
    return Answer(int(status.split()[1]), got, msgspec.json.decode(text) if text else {})


class Habits(NamedTuple):
    """What the buyers of a night are like."""

    show: float
    """Share of the called who come."""
    think_seconds: float
    """From the claim to the payment, on the mean."""


class Crowd:
    """Whenever fewer than `waiting` stand in line, more come."""

    def __init__(self, urls: Sequence[str], sale: str, habits: Habits, seed: int, waiting: int) -> None:
        self.settled: list[tuple[float, float]] = []
        """When a buyer had the ticket (Unix time), and how long after paying."""
        self.problems: list[str] = []
        self._pods = [Pod(url) for url in urls]
        self._path, self._habits, self._wanted = f"/api/v1/sales/{sale}", habits, waiting
        self._random = random.Random(seed)
        self._names = itertools.count(1)
        self._waiting = 0
        self._guests: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def before_the_door(self) -> AsyncIterator[Crowd]:
        coming = asyncio.create_task(self._come())
        try:
            yield self
        finally:
            await end([coming, *self._guests])
            for pod in self._pods:
                pod.close()

    async def _come(self) -> None:
        while True:
            for _ in range(self._wanted - self._waiting):
                self._waiting += 1
                task = asyncio.create_task(self._live(Guest(self, next(self._names))))
                self._guests.add(task)
                task.add_done_callback(self._guests.discard)
            await asyncio.sleep(LOOK_SECONDS)

    async def _live(self, guest: Guest) -> None:
        try:
            await guest.wait()
        except Exception as error:
            self.problems.append(f"in line: {error!r}")
            return
        finally:
            self._waiting -= 1
        if self._random.random() < self._habits.show:
            try:
                await guest.buy(self._random.expovariate(1 / self._habits.think_seconds))
            except Exception as error:
                self.problems.append(f"inside: {error!r}")

    async def ask(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Answer:
        text = b"" if body is None else msgspec.json.encode(body)
        return await self._random.choice(self._pods).ask(method, self._path + path, headers, text)


class Guest:
    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd, self._number = crowd, number
        self._cookie = self._token = ""

    async def wait(self) -> None:
        """Until called."""
        joined = await self._ask("POST", "/places", {})
        self._cookie = joined.headers["set-cookie"].partition(";")[0]
        here = joined.body
        while here.get("state") != "called":
            self._token = here.get("ticket", self._token)
            await asyncio.sleep(here["pollAfterSeconds"])
            here = (await self._ask("GET", "/places/me")).body
        self._token = here.get("ticket", self._token)

    async def buy(self, think_seconds: float) -> None:
        self._token = (await self._ask("POST", "/admissions", {})).body["admission"]
        hold = await self._ask("POST", "/holds", {"count": 1})
        await asyncio.sleep(think_seconds)
        began = time.monotonic()
        wish = {"hold": hold.body["id"], "paymentMethod": "pm_card_visa"}
        order = (await self._ask("POST", "/orders", wish, str(self._number))).body
        while order["state"] not in FINAL:
            await asyncio.sleep(0.5)
            order = (await self._ask("GET", f"/orders/{order['id']}")).body
        self._crowd.settled.append((time.time(), time.monotonic() - began))

    async def _ask(self, method: str, path: str, body: Any = None, key: str = "") -> Answer:
        """ "Later" is obeyed, as a page does. Raises ValueError for an answer that should not be."""
        n = self._number
        headers = {"X-Forwarded-For": f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"}
        headers |= {"Cookie": self._cookie} if self._cookie else {}
        headers |= {"Authorization": f"Bearer {self._token}"} if self._token else {}
        headers |= {"Idempotency-Key": key} if key else {}
        while _later(answer := await self._crowd.ask(method, path, headers, body)):
            await asyncio.sleep(float(answer.headers.get("retry-after", 1)))
        if answer.status >= 400:
            raise ValueError(f"{method} {path}: {answer.status} {answer.body}")
        return answer


def _later(answer: Answer) -> bool:
    return answer.status in LATER or (answer.status == 409 and answer.body["code"] == "publishing")
