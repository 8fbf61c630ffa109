"""How long the log takes for one record, at a steady 300 a second; prints p50 and p95 in milliseconds as JSON.

python load/bench/publish.py SECONDS        (settings from the environment)
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from statistics import quantiles

import msgspec
import uvloop

from boxoffice.eventlog import EventLog, open_log
from boxoffice.settings import Settings
from boxoffice.store import Store

RATE = 300
RECORD_BYTES = 400
"""About the size of an order of two seats."""


class Published(msgspec.Struct, frozen=True, rename="camel"):
    """Milliseconds."""

    p50_ms: float
    p95_ms: float


async def run(seconds: float) -> Published:
    settings = Settings.from_env()
    store = await Store.open(settings)
    log = await open_log(settings, store)
    try:
        await _publish(log, 1.0)
        times = await _publish(log, seconds)
    finally:
        await log.close()
        await store.close()
    cuts = quantiles(times, n=20)
    return Published(round(cuts[9] * 1000, 2), round(cuts[18] * 1000, 2))


async def _publish(log: EventLog, seconds: float) -> list[float]:
    """Starts one each 1/RATE s, whether or not those before are done; gives the time of each, in seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def one(at: float) -> float:
        await asyncio.sleep(at - loop.time())
        sent = time.perf_counter()  # the loop's own clock counts whole milliseconds
        await log.publish(secrets.token_bytes(16), bytes(RECORD_BYTES))
        return time.perf_counter() - sent

    return await asyncio.gather(*(one(began + i / RATE) for i in range(int(seconds * RATE))))


if __name__ == "__main__":
    print(msgspec.json.encode(uvloop.run(run(float(sys.argv[1])))).decode())
