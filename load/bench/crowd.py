"""The load: ready-made requests over keep-alive connections, in a process of its own.

    python load/bench/crowd.py PORT PID FILE PASSES SECONDS STATUS

FILE holds the requests (a MessagePack list of bytes); they are sent in order, PASSES times over, for SECONDS at
most; each should be answered with STATUS. Prints as JSON how many were answered, with what, in how many seconds,
and how much CPU time the process PID (the server) spent on them. What this process itself spends counts for nothing.
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

CONNECTIONS = 64


class Answered(msgspec.Struct, frozen=True):
    requests: int
    statuses: dict[str, int]
    seconds: float
    cpu_seconds: float
    """User and system time of the server process."""
    unexpected: str
    """The first answer with another status, if there is one."""


class Crowd:
    """What the connections share: the requests still to send, and the answers."""

    def __init__(self, requests: Iterator[bytes], seconds: float, expected: bytes) -> None:
        self.requests, self.expected = requests, expected
        self.statuses: Counter[bytes] = Counter()
        self.unexpected = b""
        self.done = asyncio.Event()
        self._open = 0
        self._until = time.monotonic() + seconds

    def next(self) -> bytes | None:
        return next(self.requests, None) if time.monotonic() < self._until else None

    def joined(self) -> None:
        self._open += 1

    def left(self) -> None:
        self._open -= 1
        if not self._open:
            self.done.set()


class Connection(asyncio.Protocol):
    """One request at a time; the next as soon as the answer is complete."""

    def __init__(self) -> None:
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def start(self, crowd: Crowd) -> None:
        self._crowd = crowd
        crowd.joined()
        self._send()

    def _send(self) -> None:
        request = self._crowd.next()
        if request is None:
            self._crowd.left()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._missing = self._missing - len(data) if self._missing else self._head(data)
        if self._missing == 0:
            self._send()

    def _head(self, data: bytes) -> int:
        """Counts the answer; returns how many bytes of its body are still on their way."""
        status, end = data[9:12], data.index(b"\r\n\r\n") + 4
        self._crowd.statuses[status] += 1
        if status != self._crowd.expected and not self._crowd.unexpected:
            self._crowd.unexpected = data
        at = data.find(b"content-length: ", 0, end)
        length = int(data[at + 16 : data.index(b"\r", at)]) if at > 0 else 0
        return length - (len(data) - end)


def cpu_clock(pid: int) -> int:
    """The clock of another process' CPU time, for time.clock_gettime."""
    clock = ctypes.c_int()
    error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise OSError(error, f"process {pid} has no CPU clock")
    return clock.value


async def run(port: int, pid: int, requests: Iterator[bytes], seconds: float, expected: bytes) -> Answered:
    loop, clock = asyncio.get_running_loop(), cpu_clock(pid)
    opened = [await loop.create_connection(Connection, "127.0.0.1", port) for _ in range(CONNECTIONS)]
    crowd = Crowd(requests, seconds, expected)
    cpu, began = time.clock_gettime(clock), time.monotonic()
    for _, connection in opened:
        connection.start(crowd)
    async with asyncio.timeout(seconds + 30):
        await crowd.done.wait()
    cpu, took = time.clock_gettime(clock) - cpu, time.monotonic() - began
    for transport, _ in opened:
        transport.close()
    statuses = {status.decode(): count for status, count in crowd.statuses.items()}
    return Answered(crowd.statuses.total(), statuses, took, cpu, crowd.unexpected.decode("latin-1"))


def main(port: str, pid: str, file: str, passes: str, seconds: str, status: str) -> None:
    requests = msgspec.msgpack.decode(Path(file).read_bytes(), type=list[bytes])
    gc.freeze()
    every = itertools.chain.from_iterable(itertools.repeat(requests, int(passes)))
    answered = uvloop.run(run(int(port), int(pid), every, float(seconds), status.encode()))
    print(msgspec.json.encode(answered).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
