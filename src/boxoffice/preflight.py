"""`boxoffice preflight`: what a night needs, seen from inside a pod, with that pod's own settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from boxoffice import sales
from boxoffice.board import Board
from boxoffice.check import Check, Part, failed, ok, warning
from boxoffice.durations import short
from boxoffice.enginechecks import (
    found_and_mend,
    ledger_checks,
    log_checks,
    look_at_ledger,
    look_at_topics,
    redis_checks,
    table_check,
)
from boxoffice.errors import BadInput, BoxofficeError, NotFound, StoreUnavailable, Unavailable
from boxoffice.gateway import open_gateway
from boxoffice.identity import Places
from boxoffice.prometheuschecks import prometheus_checks
from boxoffice.retention import AFTER_SECONDS
from boxoffice.sale import ConcertSale, to_ms
from boxoffice.settings import Settings
from boxoffice.snapshot import View
from boxoffice.store import Store
from boxoffice.tokens import KeyRing

PART_SECONDS = 20.0
"""For one part; an engine that hangs must not hold up what is said of the others."""
MOST_CLOCK_SECONDS = 1.0
RESTORED = failed("sale", "it is being restored", "wait for `boxoffice settle`, which does it; look whether it runs")


@dataclass(frozen=True, slots=True)
class Inside:
    """What the checks look at. Without a name no sale is; `fault`: why there is no store."""

    settings: Settings
    name: str | None
    store: Store | None
    fault: str = ""
    sale: ConcertSale | None = None


async def preflight(settings: Settings, name: str | None, parts: Collection[Part]) -> list[Check]:
    """In the order of Part."""
    async with AsyncExitStack() as stack:
        inside = await _inside(settings, name, stack)
        wanted = [part for part in Part if part in parts]
        found = await asyncio.gather(*(_bounded(part, inside) for part in wanted))
    return [check for checks in found for check in checks]


async def _inside(settings: Settings, name: str | None, stack: AsyncExitStack) -> Inside:
    try:
        store = await Store.open(settings)
    except StoreUnavailable as fault:
        return Inside(settings, name, None, fault.detail)
    stack.push_async_callback(store.close)
    return Inside(settings, name, store, sale=await _sale(store, name))


async def _sale(store: Store, name: str | None) -> ConcertSale | None:
    try:
        return None if name is None else await sales.get(store, name)
    except (NotFound, Unavailable):
        return None


async def _bounded(part: Part, inside: Inside) -> list[Check]:
    checks: list[Check] = []
    try:
        async with asyncio.timeout(PART_SECONDS):
            async for check in LOOKS[part](inside):
                checks.append(check)
    except TimeoutError:
        checks.append(failed(part, *found_and_mend(f"no answer in {PART_SECONDS:.0f} s")))
    except BoxofficeError as fault:
        checks.append(failed(part, *found_and_mend(fault.detail)))
    return checks


async def _redis(inside: Inside) -> AsyncIterator[Check]:
    if inside.store is None:
        yield failed("redis", *found_and_mend(inside.fault))
        return
    pipe = await inside.store.connect(inside.store.key(inside.name or "", "sale"))
    for check in redis_checks(pipe.info):
        yield check


async def _log(inside: Inside) -> AsyncIterator[Check]:
    if not inside.settings.log_url:
        yield warning("log", "streams on the store: a wiped Redis takes accepted orders with it", "give it a Kafka")
        return
    for check in log_checks(inside.settings, await look_at_topics(inside.settings), _keep_seconds(inside.sale)):
        yield check


def _keep_seconds(sale: ConcertSale | None) -> int:
    closes_ms = to_ms(sale.spec.closes_time) if sale else 0
    return max(0, closes_ms // 1000 - int(time.time())) + AFTER_SECONDS


async def _ledger(inside: Inside) -> AsyncIterator[Check]:
    facts = await look_at_ledger(inside.settings)
    yield await table_check(inside.settings)
    if facts is None:
        yield warning("ledger", "SQLite: one file, one machine", "give it a MySQL or MariaDB")
        return
    for check in ledger_checks(inside.settings, facts, inside.settings.log_partitions):
        yield check


async def _keys(inside: Inside) -> AsyncIterator[Check]:
    settings = inside.settings
    make = "`boxoffice secrets` makes new ones; tickets and places of a sale that runs need the old ones"
    for name, taken in (("signing keys", lambda: KeyRing(settings.keys)), ("place key", lambda: Places(settings))):
        try:
            taken()
        except BadInput as fault:
            yield failed(name, fault.detail, make)
        else:
            yield ok(name, "there, of 32 bytes or more")
    signing = {part.partition(":")[2].strip().lower() for part in settings.keys.split(",")}
    if settings.place_key and settings.place_key.strip().lower() in signing:
        yield failed("keys", "the place key is a signing key too: who has one has both", make)


async def _gateway(inside: Inside) -> AsyncIterator[Check]:
    gateway = await open_gateway(inside.settings)
    await gateway.close()
    yield warning("gateway", "simulated: it answers, and takes nobody's money", "there is no other one yet")


async def _prometheus(inside: Inside) -> AsyncIterator[Check]:
    signals = inside.sale.spec.signals if inside.sale else []
    async for check in prometheus_checks(inside.settings.prometheus_url, signals):
        yield check


async def _of_sale(inside: Inside) -> AsyncIterator[Check]:
    if inside.name is None:
        return
    if inside.store is None:
        yield failed("sale", "not known without Redis", "as for redis")
        return
    board = Board(inside.store)
    await board.beat()
    try:
        view = board.view(inside.name)
    except NotFound as fault:
        mend = "`kubectl apply` it where an operator runs, or `boxoffice sale apply` it"
        yield failed("sale", f"{fault.detail} in Redis", mend)
    except Unavailable:
        yield RESTORED
    else:
        yield _state(view)
    yield await _clock(inside.store, inside.name)


def _state(view: View) -> Check:
    if view.recovering:
        return RESTORED
    now = datetime.fromtimestamp(view.now_ms() / 1000, UTC)
    opens, closes = view.spec.opens_time, view.spec.closes_time
    times = f"opens in {short(opens - now)}" if now < opens else f"closes in {short(closes - now)}"
    found = f"{view.state}, policy {view.policy}, {view.free:,} of {view.total:,} seats free; {times}"
    if view.state == "closed":
        return warning("sale", "it is over", "a sale that is to open has another name, or later times")
    if view.policy != "Open":
        return warning("sale", found, "`kubectl sale resume`, or spec.policy: Open")
    return ok("sale", found)


async def _clock(store: Store, name: str) -> Check:
    """Redis' clock decides; pods only need theirs to be near it, for what people read."""
    pipe = await store.connect(store.key(name, "sale"))
    before = time.time()
    seconds, micros = await pipe.send("TIME")
    away = int(seconds) + int(micros) / 1_000_000 - (before + time.time()) / 2
    if abs(away) <= MOST_CLOCK_SECONDS:
        return ok("clock", f"{abs(away) * 1000:.0f} ms from Redis'")
    return failed("clock", f"{abs(away):.1f} s from Redis', whose clock opens the sale", "let NTP keep both machines")


LOOKS: dict[Part, Callable[[Inside], AsyncIterator[Check]]] = {
    Part.redis: _redis,
    Part.log: _log,
    Part.ledger: _ledger,
    Part.keys: _keys,
    Part.gateway: _gateway,
    Part.prometheus: _prometheus,
    Part.sale: _of_sale,
}
