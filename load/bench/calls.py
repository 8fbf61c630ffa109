"""The calls alone: what a join, a hold or an order asks of Redis (and of the log), with no HTTP around it.

    python load/bench/calls.py KIND FILE SECONDS        (settings from the environment)

FILE holds the arguments (a MessagePack list of lists), used in order for SECONDS at most, by as many tasks at a
time as the crowd has buyers. Prints as JSON how many there were and what CPU time this process spent.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from boxoffice.eventlog import EventLog, open_log
from boxoffice.settings import Settings
from boxoffice.store import Store
from crowd import BUYERS

Call = Callable[[Store, EventLog, list[Any]], Awaitable[bytes]]


class Called(msgspec.Struct, frozen=True):
    calls: int
    seconds: float
    cpu_seconds: float


async def _join(store: Store, log: EventLog, args: list[Any]) -> bytes:
    reply = await store.call("join", *args)
    return bytes(reply[0])


async def _hold(store: Store, log: EventLog, args: list[Any]) -> bytes:
    reply = await store.call("take", *args)
    return bytes(reply[0])


async def _order(store: Store, log: EventLog, args: list[Any]) -> bytes:
    """All three calls of an order: recorded, in the log, marked so."""
    sale, order, event, *pay = args
    reply = await store.call("pay", sale, *pay)
    if reply[0] != b"new":
        return bytes(reply[0])
    position = await log.publish(bytes.fromhex(order), event)
    reply = await store.call("published", sale, order, position.partition, position.offset)
    return bytes(reply[0])


KINDS: dict[str, Call] = {"join": _join, "hold": _hold, "order": _order}


async def _task(call: Call, store: Store, log: EventLog, every: Iterator[list[Any]], until: float) -> int:
    count = 0
    for args in every:
        if time.monotonic() >= until:
            break
        code = await call(store, log, args)
        if code != b"ok":
            raise SystemExit(f"the call was answered {code.decode()!r}")
        count += 1
    return count


async def run(kind: str, every: Iterator[list[Any]], seconds: float) -> Called:
    settings = Settings.from_env()
    store = await Store.open(settings)
    log = await open_log(settings, store)
    cpu, began = time.process_time(), time.monotonic()
    tasks = [_task(KINDS[kind], store, log, every, began + seconds) for _ in range(BUYERS)]
    counts = await asyncio.gather(*tasks)
    called = Called(sum(counts), time.monotonic() - began, time.process_time() - cpu)
    await log.close()
    await store.close()
    return called


def main(kind: str, file: str, seconds: str) -> None:
    every = msgspec.msgpack.decode(Path(file).read_bytes(), type=list[list[Any]])
    gc.freeze()
    called = uvloop.run(run(kind, iter(every), float(seconds)))
    print(msgspec.json.encode(called).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
