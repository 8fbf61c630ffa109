"""Records that cannot be orders, of every kind, among a great many that can."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from boxoffice.effects import sink_of
from boxoffice.eventlog import EventLog, open_log, prepare_log
from boxoffice.events import encode
from boxoffice.ledger import Ledger
from boxoffice.local.kafka import LocalKafka
from boxoffice.local.mysql import LocalMySql
from boxoffice.settings import Settings
from boxoffice.store import Store
from boxoffice.tables import dead_letters, orders
from tests.chaos.conftest import Chaos
from tests.integration.test_settlement import Scene, event, gateway, malformed, sale, scene, settling
from tests.servers_mysql import own_database

__all__ = ["gateway", "sale", "scene"]

AT_ONCE = 1000


@pytest.fixture
async def settings(settings: Settings, mysql: LocalMySql, kafka: LocalKafka) -> AsyncIterator[Settings]:
    async with own_database(mysql, replace(settings, **kafka.changes)) as changed:
        yield changed


@pytest.fixture
async def log(settings: Settings, store: Store) -> AsyncIterator[EventLog]:
    await prepare_log(settings, store)
    log = await open_log(settings, store)
    yield log
    await log.close()


async def test_all_orders_are_settled_and_all_else_is_a_dead_letter(scene: Scene, store: Store, chaos: Chaos) -> None:
    total, wrong = chaos.scale(2000, 100_000), chaos.scale(60, 1000)
    sale = await scene.ledger.ensure_sale("a-large-hall", "2" * 64, scene.sale.spec, total)
    kinds = malformed(sale)
    assert len(kinds) >= 20
    bad = list(itertools.islice(itertools.cycle(kinds), wrong))
    good = [event(sale, [seat]) for seat in range(total - wrong)]
    await publish_mixed(scene.log, (encode(e) for e in good), bad, len(good) // wrong)
    desk = replace(scene.desk(), sink=sink_of(store, scene.log))
    async with settling(desk):
        await scene.until_settled(seconds=300)
    assert await counted(scene.ledger) == ({"paid": len(good)}, wrong)
    letters = await reasons(scene.ledger)
    assert len(letters) == len(kinds), "each kind, with its reason"
    assert all(letters.values())
    paid = [c async for chunk in scene.gateway.charges(sale.uid) for c in chunk]
    assert {charge.order for charge in paid} == {e.order for e in good}


async def publish_mixed(log: EventLog, good: Iterable[bytes], bad: Iterable[bytes], every: int) -> None:
    """One of the bad after so many of the good."""
    rest = iter(good)
    mixed = [value for wrong in bad for value in (*itertools.islice(rest, every), wrong)] + list(rest)
    for start in range(0, len(mixed), AT_ONCE):
        chunk = mixed[start : start + AT_ONCE]
        await asyncio.gather(*(log.publish(b"%d" % (start + i), value) for i, value in enumerate(chunk)))


async def counted(ledger: Ledger) -> tuple[dict[str, int], int]:
    """Orders by state, and dead letters."""
    async with ledger.reading() as connection:
        states = await connection.execute(sa.select(orders.c.state, sa.func.count()).group_by(orders.c.state))
        letters = await connection.execute(sa.select(sa.func.count()).select_from(dead_letters))
        return {row[0]: row[1] for row in states}, int(letters.scalar_one())


async def reasons(ledger: Ledger) -> dict[str, str]:
    """By payload."""
    async with ledger.reading() as connection:
        found = await connection.execute(sa.select(dead_letters.c.payload_digest, dead_letters.c.error))
        return {row.payload_digest: row.error for row in found}
