"""A process that cannot begin yet stands by: it is alive, not ready, and says in one line what it waits for."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Literal, TypeVar

from boxoffice.errors import BoxofficeError, Unavailable
from boxoffice.eventlog import open_log
from boxoffice.probe import Readiness, serve_probes
from boxoffice.settings import SecretMissing, Settings
from boxoffice.store import Store

AGAIN_SECONDS = 1.0

Port = Literal["port", "admin_port", "settle_port"]
T = TypeVar("T")

logger = logging.getLogger(__name__)


async def read_settings(port: Port) -> Settings:
    """From the environment; secrets whose files are not there yet are waited for. Raises BadInput."""

    async def read() -> Settings:
        return Settings.from_env()

    public = Settings.from_env({name: text for name, text in os.environ.items() if not name.endswith("_FILE")})
    return await stand_by(public, port, read)


async def engines_answer(settings: Settings, port: Port, more: Callable[[Settings], Awaitable[None]] | None) -> None:
    """Returns when store and log answer, and `more` has nothing to wait for either."""

    async def ask() -> None:
        async with AsyncExitStack() as stack:
            store = await Store.open(settings)
            stack.push_async_callback(store.close)
            event_log = await open_log(settings, store)
            stack.push_async_callback(event_log.close)
        if more:
            await more(settings)

    await stand_by(settings, port, ask)


async def stand_by(settings: Settings, port: Port, attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` returns, once it does; meanwhile the port answers probes. SIGTERM ends the process."""
    try:
        return await attempt()
    except (Unavailable, SecretMissing) as fault:
        readiness = Readiness(_said(fault, ""))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, sys.exit, 0)  # the first process of a container has no default for it
    async with serve_probes(settings.host, getattr(settings, port), readiness):
        return await persist(attempt, readiness)


async def persist(attempt: Callable[[], Awaitable[T]], readiness: Readiness, seconds: float = float("inf")) -> T:
    """Tries once a second; raises the last fault when it has not gone within so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await attempt()
        except (Unavailable, SecretMissing) as fault:
            if time.monotonic() > deadline:
                raise
            readiness.waits_for = _said(fault, readiness.waits_for)
        await asyncio.sleep(AGAIN_SECONDS)


def _said(fault: BoxofficeError, before: str) -> str:
    """Logged when it is another one than before."""
    if fault.detail != before:
        logger.warning("waiting: %s", fault.detail)
    return fault.detail
