"""Settlement into a real MySQL: rows that do not fit, others in the way, a lost answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from boxoffice import deadletters
from boxoffice.database import connect
from boxoffice.errors import LedgerUnavailable
from boxoffice.events import OrderPlaced
from boxoffice.ledger import Ledger
from boxoffice.local.mysql import LocalMySql
from boxoffice.settings import Settings
from tests.integration.test_settlement import Scene, event, gateway, log, publish, publish_together, sale, scene
from tests.servers_mysql import own_database, run_sql

__all__ = ["gateway", "log", "sale", "scene"]


@pytest.fixture
async def settings(settings: Settings, mysql: LocalMySql) -> AsyncIterator[Settings]:
    async with own_database(mysql, replace(settings, log_partitions=2, settle_batch=50)) as changed:
        yield changed


async def test_a_backlog_is_settled_each_order_once(scene: Scene) -> None:
    await publish(scene.log, *(event(scene.sale, [2 * i, 2 * i + 1]) for i in range(400)))
    await scene.settle_all()
    await scene.assert_sound()
    assert await scene.states() == {"paid": 400}


async def test_orders_for_the_same_seats_in_two_partitions_sell_each_seat_once(scene: Scene) -> None:
    await publish(scene.log, *(event(scene.sale, [i % 40, (7 * i + 1) % 40 + 40]) for i in range(300)))
    await scene.settle_all()
    await scene.assert_sound()


async def test_a_row_that_the_database_cannot_hold_is_found_and_keeps_no_money(scene: Scene) -> None:
    """A schema narrower than the code believes: the batch is halved until the row is alone."""
    async with scene.ledger.writing() as connection:
        await connection.execute(sa.text("ALTER TABLE tickets MODIFY seat_name VARCHAR(12) NOT NULL"))
    good = [event(scene.sale, [i]) for i in range(30)]
    unfit = event(scene.sale, [99], names=["a name of more than twelve"])
    await publish_together(scene.log, *good[:17], unfit, *good[17:])
    await scene.settle_all()
    assert await scene.states() == {"paid": 30}
    assert await scene.money() == {e.order for e in good}
    [letter] = await deadletters.list_letters(scene.ledger)
    assert "cannot hold" in letter.error
    assert letter.payload.find(unfit.order.encode()) > 0


async def test_a_deadlock_costs_a_repeat_and_nothing_else(scene: Scene, mysql: LocalMySql) -> None:
    """The rival has more to lose, so the database takes the batch back."""
    await publish(scene.log, *(event(scene.sale, [i]) for i in range(100)))
    await scene.settle_all()
    rival = connect(scene.settings.ledger_url)
    wanted = [event(scene.sale, [200 + i]) for i in range(10)]
    async with rival.connect() as connection:
        await connection.execute(sa.text("UPDATE orders SET why = 'rival'"))
        steal = "INSERT INTO tickets SELECT id, 9, sale_uid, 205, 'floor/0205' FROM orders LIMIT 1"
        await connection.execute(sa.text(steal))
        settling = asyncio.create_task(settle(scene, wanted))
        await until_waiting(mysql)
        await connection.execute(sa.text("UPDATE positions SET applied = applied"))
        await connection.rollback()
    await rival.dispose()
    await settling
    await scene.assert_sound()
    assert await scene.states() == {"paid": 110}


async def settle(scene: Scene, events: list[OrderPlaced]) -> None:
    await publish_together(scene.log, *events)
    await scene.settle_all()


async def until_waiting(mysql: LocalMySql) -> None:
    """Until a transaction waits for another one's lock. Asked more often, InnoDB says the same again."""
    waiting = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    async with asyncio.timeout(10):
        while not (await run_sql(mysql, waiting))[0][0][0]:
            await asyncio.sleep(0.15)


async def test_a_commit_whose_answer_is_lost_is_looked_up(scene: Scene) -> None:
    class Deaf(Ledger):
        """The connection breaks right after the commit, once."""

        broke = False

        async def record_batch(self, *args: object) -> object:  # type: ignore[override]
            moved = await super().record_batch(*args)  # type: ignore[arg-type]
            if not self.broke:
                self.broke = True
                raise LedgerUnavailable("the connection broke after the commit")
            return moved

    ledger = Deaf(connect(scene.settings.ledger_url))
    events = [event(scene.sale, [i]) for i in range(20)]
    await publish_together(scene.log, *events)
    await scene.settle_all(ledger=ledger)
    await ledger.close()
    await scene.assert_sound()
    assert set(scene.listener.outcomes()) == {e.order for e in events}
    log_id = await scene.log.log_id()
    fences = [(await scene.ledger.claim_partition(scene.log.topic, log_id, p, 0)).fence for p in range(2)]
    assert fences == [2, 2], "it kept its turn"
