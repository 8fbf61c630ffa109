"""Whether the engines are set so that they keep what they were told: looked at once a minute, into a gauge."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import Gauge

from boxoffice.check import Check
from boxoffice.errors import Unavailable
from boxoffice.node import faults
from boxoffice.pipe import fields_of
from boxoffice.settings import Settings
from boxoffice.store import Store

EVERY_SECONDS = 60.0
CHECKS = {
    "redis": ("version", "eviction", "persistence", "replicas"),
    "log": ("copies", "settings"),
    "ledger": ("commits", "binary log", "isolation", "tables"),
}
"""Those of `boxoffice preflight` that are about losing something."""

UNSAFE = Gauge(
    "boxoffice_engine_unsafe",
    "Servers or topics that may lose what was accepted, by what is wrong with them",
    ["engine", "check"],
)

logger = logging.getLogger(__name__)


async def watch_engines(settings: Settings, store: Store) -> None:
    """Until cancelled. What is out of reach stands as it was seen last: others tell of that."""
    while True:
        for engine, look in (("redis", _redis(store)), ("log", _log(settings)), ("ledger", _ledger(settings))):
            try:
                _show(engine, await look)
            except Unavailable as fault:
                logger.debug("%s: %s", engine, fault.detail)
            except Exception:
                logger.exception("%s", engine)
        await asyncio.sleep(EVERY_SECONDS)


def _show(engine: str, found: Counter[str] | None) -> None:
    if found is not None:
        for check in CHECKS[engine]:
            UNSAFE.labels(engine, check).set(found[check])


async def _redis(store: Store) -> Counter[str]:
    """Every server that has a sale."""
    pipes = [await store.connect(store.key(sale, "sale")) for sale in sorted(await store.names())]
    infos = [fields_of(await pipe.send("INFO")) for pipe in dict.fromkeys(pipes)]
    return Counter(check for info in infos for check, _ in faults(info))


async def _log(settings: Settings) -> Counter[str] | None:
    """None for streams on the store."""
    if not settings.log_url:
        return None
    from boxoffice.enginechecks import log_checks, look_at_topics  # and with it all of aiokafka

    return Counter(_failed("log", log_checks(settings, await look_at_topics(settings), keep_seconds=0)))


async def _ledger(settings: Settings) -> Counter[str] | None:
    """None for SQLite."""
    if settings.ledger_url.startswith("sqlite"):
        return None
    from boxoffice.enginechecks import ledger_checks, look_at_ledger, table_check

    facts = await look_at_ledger(settings)
    assert facts is not None
    checks = [await table_check(settings), *ledger_checks(settings, facts, settings.log_partitions)]
    return Counter(_failed("ledger", checks))


def _failed(engine: str, checks: Iterable[Check]) -> Iterator[str]:
    """`log copies of night.orders` is `copies`."""
    for check in checks:
        if check.result == "failed":
            yield check.name.removeprefix(f"{engine} ").partition(" of ")[0]
