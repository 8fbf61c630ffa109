"""Requests at a steady pace over keep-alive connections, in a process of its own, until SIGTERM.

    python load/bench/paced.py FILE PER_SECOND PORT

FILE holds the requests (a MessagePack list of bytes). Prints as JSON what the answers were, and how long they took.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import uvloop

CONNECTIONS = 64


class Paced(msgspec.Struct, frozen=True, rename="camel"):
    statuses: dict[str, int]
    p50_ms: float
    p99_ms: float


class Pacer:
    def __init__(self, requests: list[bytes]) -> None:
        self._requests = iter(requests)
        self._idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.statuses: Counter[str] = Counter()
        self.seconds: list[float] = []

    async def run(self, per_second: float, port: int, stop: asyncio.Event) -> None:
        for _ in range(CONNECTIONS):
            self._idle.put_nowait(await asyncio.open_connection("127.0.0.1", port))
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for request in self._requests:
                due += 1 / per_second
                await asyncio.sleep(due - time.monotonic())
                if stop.is_set():
                    return
                group.create_task(self._send(request, due))

    async def _send(self, request: bytes, due: float) -> None:
        """Counts from when it should have been sent: who waits for a connection waits too."""
        reader, writer = await self._idle.get()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        at = head.lower().index(b"content-length: ") + 16
        await reader.readexactly(int(head[at : head.index(b"\r", at)]))
        self._idle.put_nowait((reader, writer))
        self.statuses[head[9:12].decode()] += 1
        self.seconds.append(time.monotonic() - due)


async def main(requests: list[bytes], per_second: str, port: str) -> Paced:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pacer = Pacer(requests)
    await pacer.run(float(per_second), int(port), stop)
    ordered = sorted([*pacer.seconds, 0.0])
    p50, p99 = (round(ordered[int(len(ordered) * share)] * 1000, 1) for share in (0.5, 0.99))
    return Paced(dict(pacer.statuses), p50, p99)


if __name__ == "__main__":
    file, *rest = sys.argv[1:]
    requests = msgspec.msgpack.decode(Path(file).read_bytes(), type=list[bytes])
    print(msgspec.json.encode(uvloop.run(main(requests, *rest))).decode())
