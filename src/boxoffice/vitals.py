"""What every process tells of itself: which release it is, and how late its event loop comes to what is due."""

from __future__ import annotations

import asyncio

from prometheus_client import Histogram, Info

from boxoffice import __version__

LOOK_SECONDS = 0.25

BUILD = Info("boxoffice_build", "The release that runs")
BUILD.info({"version": __version__})
LOOP_LAG = Histogram(
    "boxoffice_event_loop_lag_seconds",
    "Seconds by which the event loop was late for what was due, looked at four times a second",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)


async def watch_loop() -> None:
    """Until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        LOOP_LAG.observe(max(0.0, loop.time() - due))
