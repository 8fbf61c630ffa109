"""The load: ready-made requests over keep-alive connections, in a process of its own.

    python load/bench/crowd.py FILE PASSES SECONDS STATUS PORT:PID [HELLO_PORT:PID]

FILE holds the requests (a MessagePack list of bytes); they are sent in order, PASSES times over, for SECONDS at
most; each should be answered with STATUS. With a second server every buyer, once answered, says hello to it before
the next request: so both answer as often, at the same moments, with the same neighbours on the same cores. What
else runs on a small machine (Redis, above all) doubles the CPU time of a request, and of a hello alike.

Prints as JSON how many were answered, with what, in how many seconds, and how much CPU time each server spent on
them. What this process itself spends counts for nothing.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import uvloop

BUYERS = 64
HELLO = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: boxoffice-bench\r\nAccept: */*\r\n\r\n"


class Answered(msgspec.Struct, frozen=True):
    requests: int
    statuses: dict[str, int]
    seconds: float
    cpu_seconds: list[float]
    """User and system time of each server process."""
    unexpected: str
    """The first answer with another status, if there is one."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def micros(self) -> list[float]:
        """Of CPU time a request, of each server process."""
        return [seconds / self.requests * 1e6 for seconds in self.cpu_seconds]


class Server(msgspec.Struct, frozen=True):
    port: int
    pid: int


class Crowd:
    """What the buyers share: the requests still to send, and the answers."""

    def __init__(self, requests: Iterator[bytes], seconds: float, expected: bytes) -> None:
        self.requests, self.expected = requests, expected
        self.statuses: Counter[bytes] = Counter()
        self.unexpected = b""
        self.done = asyncio.Event()
        self._here = BUYERS
        self._until = time.monotonic() + seconds

    def next(self) -> bytes | None:
        return next(self.requests, None) if time.monotonic() < self._until else None

    def count(self, answer: bytes) -> None:
        status = answer[9:12]
        self.statuses[status] += 1
        if status != self.expected and not self.unexpected:
            self.unexpected = answer

    def left(self) -> None:
        self._here -= 1
        if not self._here:
            self.done.set()


class Connection(asyncio.Protocol):
    """Sends a request, and tells its buyer of the answer once all of it is there."""

    buyer: Buyer

    def __init__(self) -> None:
        self._missing = 0
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.transport.is_closing():
            self.buyer.answered(self, b"the server closed the connection")

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._head, self._missing = data, _missing(data)
        if self._missing == 0:
            self.buyer.answered(self, self._head)


def _missing(data: bytes) -> int:
    """How many bytes of the body are still on their way."""
    end = data.index(b"\r\n\r\n") + 4
    at = data.find(b"content-length: ", 0, end)
    length = int(data[at + 16 : data.index(b"\r", at)]) if at > 0 else 0
    return length - (len(data) - end)


class Buyer:
    """One request at a time, and a hello in between."""

    def __init__(self, crowd: Crowd, own: Connection, hello: Connection | None) -> None:
        self._crowd, self._own, self._hello = crowd, own, hello
        own.buyer = self
        if hello:
            hello.buyer = self

    def go_on(self) -> None:
        request = self._crowd.next()
        if request is None:
            self._crowd.left()
        else:
            self._own.transport.write(request)

    def answered(self, connection: Connection, head: bytes) -> None:
        if connection is self._own:
            self._crowd.count(head)
            if self._hello:
                return self._hello.transport.write(HELLO)
        self.go_on()


def cpu_clock(pid: int) -> int:
    """The clock of another process' CPU time, for time.clock_gettime."""
    clock = ctypes.c_int()
    error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise OSError(error, f"process {pid} has no CPU clock")
    return clock.value


async def run(
    requests: Iterator[bytes], seconds: float, expected: bytes, own: Server, hello: Server | None = None
) -> Answered:
    crowd = Crowd(requests, seconds, expected)
    buyers = [Buyer(crowd, await _connect(own), await _connect(hello) if hello else None) for _ in range(BUYERS)]
    clocks = [cpu_clock(server.pid) for server in (own, hello) if server]
    before, began = [time.clock_gettime(clock) for clock in clocks], time.monotonic()
    for buyer in buyers:
        buyer.go_on()
    async with asyncio.timeout(seconds + 30):
        await crowd.done.wait()
    spent = [time.clock_gettime(clock) - then for clock, then in zip(clocks, before, strict=True)]
    took, unexpected = time.monotonic() - began, crowd.unexpected.decode("latin-1")
    statuses = {status.decode("latin-1"): count for status, count in crowd.statuses.items()}
    return Answered(crowd.statuses.total(), statuses, took, spent, unexpected)


async def _connect(server: Server) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, "127.0.0.1", server.port)
    return connection


def main(file: str, passes: str, seconds: str, status: str, *servers: str) -> None:
    requests = msgspec.msgpack.decode(Path(file).read_bytes(), type=list[bytes])
    gc.freeze()
    every = itertools.chain.from_iterable(itertools.repeat(requests, int(passes)))
    addresses = [Server(*map(int, server.split(":"))) for server in servers]
    answered = uvloop.run(run(every, float(seconds), status.encode(), *addresses))
    print(msgspec.json.encode(answered).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
