"""Alerts that fire and resolve because what they are about is so, and then is not: from a row or a signal by hand, over
our own processes, Prometheus and Alertmanager, to what people read in Slack.

Times are a sixtieth (`quick.py`). promtool has all alerts in full time, and those of the operator alone.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from boxoffice.deadletters import discard_letter, list_letters
from boxoffice.embedded import EmbeddedStore
from boxoffice.eventlog import open_log
from boxoffice.ledger import Ledger, open_ledger
from boxoffice.local.kafka import LocalKafka
from boxoffice.simulated import charges
from boxoffice.tables import orders
from boxoffice.tasks import end
from tests.alerts.watch import Watch
from tests.integration.buyer import Buyer
from tests.integration.house import House, resource

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECOND_BUYER, UNKNOWN, FORGOTTEN = "f" * 32, "e" * 32, "d" * 32
BY_HAND = {"log_id": "by hand"}
"""Of an order that no record led to, so that settlement leaves it alone."""


BUYERS, HOLDS_EACH = 5, 8
"""Of those whose orders are late: enough to count among all that went well in the last minute."""


async def inside(house: House, sale: str) -> Buyer:
    buyer = house.buyer(sale=sale)
    await buyer.enter()
    return buyer


async def held_by(buyer: Buyer) -> str:
    """The hold's id; 503 on a busy machine is none."""
    while (answer := await buyer.hold()).status_code == 503:
        await asyncio.sleep(0.25)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def paid(house: House, buyer: Buyer) -> str:
    """The order's id."""
    order = await buyer.pay_surely(await held_by(buyer), "a-key-of-its-own", house.stack.urls)
    assert (await buyer.until_settled(order["id"]))["state"] == "paid"
    return str(order["id"])


async def about_to_pay(house: House, sale: str) -> list[tuple[Buyer, str]]:
    """Each buyer with a hold."""
    await house.apply(resource(name=sale, hold={"seconds": 120, "maxSeatsPerBuyer": HOLDS_EACH}))
    buyers = [await inside(house, sale) for _ in range(BUYERS)]
    return [(buyer, await held_by(buyer)) for buyer in buyers for _ in range(HOLDS_EACH)]


async def pay_all(held: list[tuple[Buyer, str]]) -> list[dict[str, Any]]:
    answers = await asyncio.gather(*(buyer.pay(hold, f"the-key-of-{hold}") for buyer, hold in held))
    return [answer.json() for answer in answers]


@asynccontextmanager
async def ledger_of(house: House) -> AsyncIterator[Ledger]:
    ledger = await open_ledger(house.stack.settings())
    try:
        yield ledger
    finally:
        await ledger.close()


@asynccontextmanager
async def again_and_again(step: Callable[[], Awaitable[object]], pause: float = 0.1) -> AsyncIterator[None]:
    async def repeat() -> None:
        while True:
            await step()
            await asyncio.sleep(pause)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        await end([task])


@asynccontextmanager
async def frozen(pid: int) -> AsyncIterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_what_goes_wrong_while_the_engines_run(house: House, watch: Watch) -> None:
    """All at once, each on a sale of its own: they do not get into each other's way, and so take the time of one."""
    async with asyncio.TaskGroup() as group:
        for trouble in (differences, dead_letters, engine_unsafe, line_long, pace_decaying, business_failing):
            group.create_task(trouble(house, watch))


async def differences(house: House, watch: Watch) -> None:
    """Oversold, OrderLost and ChargedWithoutTicket: rows planted by hand, and taken away again."""
    sale = "audited"
    await house.apply(resource(seats=10, name=sale))
    order = await paid(house, await inside(house, sale))
    alerts = ("Oversold", "OrderLost", "ChargedWithoutTicket")
    gateway = sa.create_engine(house.stack.settings().gateway_url.replace("+aiosqlite", ""))
    async with ledger_of(house) as ledger, house.store() as store:
        async with ledger.writing() as connection:
            row = dict((await connection.execute(sa.select(orders).where(orders.c.id == order))).one()._mapping)
            await connection.execute(sa.insert(orders).values({**row, **BY_HAND, "id": SECOND_BUYER}))
        with gateway.begin() as writing:
            charge = dict(writing.execute(sa.select(charges).where(charges.c.order_id == order)).one()._mapping)
            writing.execute(sa.insert(charges).values({**charge, "order_id": UNKNOWN}))
        await store.execute("HSET", store.key(sale, f"order:{FORGOTTEN}"), "state", "accepted")
        for alert, kind in zip(alerts, ("oversold", "order_lost", "charged_without_ticket"), strict=True):
            await watch.fires(alert, sale=sale, saying=f": 1 {kind}")
        async with ledger.writing() as connection:
            await connection.execute(sa.delete(orders).where(orders.c.id == SECOND_BUYER))
        with gateway.begin() as writing:
            writing.execute(sa.delete(charges).where(charges.c.order_id == UNKNOWN))
        await store.execute("DEL", store.key(sale, f"order:{FORGOTTEN}"))
    gateway.dispose()
    for alert in alerts:
        await watch.resolves(alert, sale=sale)
    assert not (await house.audit(sale)).differences


async def dead_letters(house: House, watch: Watch) -> None:
    settings = replace(house.stack.settings(), publish_seconds=60.0)
    async with house.store() as store, ledger_of(house) as ledger:
        log = await open_log(settings, store)
        try:
            await log.publish(b"no order's key", b"no order")
        finally:
            await log.close()
        await watch.fires("DeadLetters", "ticket", saying=": 1 open")
        for letter in await list_letters(ledger):
            await discard_letter(ledger, letter.id, "test", "not ours")
    await watch.resolves("DeadLetters", "ticket")


async def engine_unsafe(house: House, watch: Watch) -> None:
    async with house.store() as store:
        await store.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        await watch.fires("EngineUnsafe", "ticket", saying=": redis: eviction")
        await store.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await watch.resolves("EngineUnsafe", "ticket")


async def line_long(house: House, watch: Watch) -> None:
    sale = "long-line"
    await house.apply(resource(name=sale, policy="Hold"))
    for _ in range(25):
        assert (await house.buyer(sale=sale).join()).status_code == 201
    await watch.fires("LineLong", "ticket", sale, saying=": 25 waiting")
    await house.apply(resource(name=sale))
    await watch.resolves("LineLong", "ticket", sale)


async def pace_decaying(house: House, watch: Watch) -> None:
    """As an operator leaves it that was last heard of three minutes ago."""
    sale = "left-alone"
    await house.apply(resource(name=sale))
    async with house.store() as store:
        key, now = store.key(sale, "sale"), int(time.time() * 1000)
        await store.execute("HSET", key, "target", 500, "decided_ms", now - 180_000)
        await watch.fires("PaceDecaying", sale=sale)
        await store.execute("HSET", key, "decided_ms", now)
    await watch.resolves("PaceDecaying", sale=sale)


async def business_failing(house: House, watch: Watch) -> None:
    sale = "declined"
    await house.apply(resource(name=sale))
    buyers = [await inside(house, sale) for _ in range(10)]
    holds = [await held_by(buyer) for buyer in buyers]
    keys = map("key-number-{}".format, itertools.count())

    async def one_each() -> None:
        """A hold whose payment was declined is the buyer's again."""
        await asyncio.gather(*(one(*of) for of in zip(buyers, holds, strict=True)))

    async def one(buyer: Buyer, hold: str) -> None:
        answer = await buyer.pay(hold, next(keys), "pm_card_chargeDeclined")
        if answer.status_code == 202:
            await buyer.until_settled(answer.json()["id"])

    async with again_and_again(one_each, pause=0.5):
        await watch.fires("BusinessFailing", saying="0% paid")
    await watch.resolves("BusinessFailing")


async def test_the_log_stands_still(house: House, watch: Watch) -> None:
    sale = "no-log"
    held = await about_to_pay(house, sale)
    kafka = house.stack.engines.log
    assert isinstance(kafka, LocalKafka)
    async with frozen(kafka.pid):
        assert {order["state"] for order in await pay_all(held)} == {"pending"}
        await watch.fires("OrderBurn")
        await watch.fires("IntentsUnpublished", sale=sale)
    await watch.resolves("IntentsUnpublished", sale=sale)
    await watch.resolves("OrderBurn")


async def test_settlement_stands_still(house: House, watch: Watch) -> None:
    """For longer than the ten seconds that are promised."""
    sale = "no-settlement"
    held = await about_to_pay(house, sale)
    async with frozen(house.stack.child("settle").pid):
        placed = await pay_all(held)
        late = time.monotonic() + 10.5
        await watch.fires("SettlementStalled")
        await watch.fires("AuditSilent", "ticket", sale)
        await asyncio.sleep(late - time.monotonic())
    for (buyer, _), order in zip(held, placed, strict=True):
        assert (await buyer.until_settled(order["id"]))["state"] == "paid"
    await watch.fires("SettleBurn")
    for alert in ("SettlementStalled", "SettleBurn"):
        await watch.resolves(alert)
    await watch.resolves("AuditSilent", "ticket", sale)


async def test_redis_stands_still(house: House, watch: Watch) -> None:
    """A sale whose time comes meanwhile does not open; nobody can hold; who waited for the opening cannot exchange the
    ticket."""
    await house.apply(resource(name="no-redis"))
    buyer = await inside(house, "no-redis")
    early = [house.buyer(sale="just-open") for _ in range(20)]
    await house.apply(resource(name="just-open", opens_in=60, active=1))
    for each in early:
        assert (await each.join()).status_code == 201
    await house.apply(resource(name="just-open", active=1))
    async with asyncio.timeout(60):
        while (await house.line("just-open"))["state"] != "open":
            await asyncio.sleep(0.05)
    await house.apply(resource(name="late", opens_in=6))
    store = house.stack.store
    assert isinstance(store, EmbeddedStore)
    turns = itertools.cycle(early)
    holds, polls = (lambda: asyncio.gather(*(buyer.hold() for _ in range(10)))), (lambda: next(turns).whereabouts())
    async with frozen(store.pid), again_and_again(holds), again_and_again(polls):
        for alert in ("HoldBurn", "WhereaboutsBurn"):
            await watch.fires(alert)
        await watch.fires("SaleNotOpened", sale="late")
    await house.until_known(house.stack.urls[0], "late")
    for alert in ("HoldBurn", "WhereaboutsBurn"):
        await watch.resolves(alert)
    await watch.resolves("SaleNotOpened", sale="late")
