"""Settlement into a real MySQL: rows that do not fit, others in the way, a lost answer, an older copy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY

from boxoffice import deadletters, partition
from boxoffice.database import connect
from boxoffice.errors import LedgerUnavailable
from boxoffice.events import OrderPlaced
from boxoffice.ledger import Ledger
from boxoffice.local.mysql import LocalMySql
from boxoffice.settings import Settings
from boxoffice.tables import orders, positions, tickets
from tests.integration.test_settlement import (
    Scene,
    event,
    gateway,
    log,
    publish,
    publish_together,
    sale,
    scene,
    settling,
)
from tests.servers_mysql import only_reading, own_database, run_sql

__all__ = ["gateway", "log", "sale", "scene"]

CUTS = 12


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


async def until_waiting(mysql: LocalMySql) -> int:
    """Until a transaction waits for another one's lock; whose connection's. Asked more often, InnoDB says the same
    again."""
    waiting = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    async with asyncio.timeout(60):
        while not (found := (await run_sql(mysql, waiting))[0]):
            await asyncio.sleep(0.15)
    return int(str(found[0][0]))


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


async def put_back(ledger: Ledger) -> None:
    """To a copy from after the first claims and before the first order."""
    async with ledger.writing() as connection:
        for table in (tickets, orders):
            await connection.execute(sa.delete(table))
        await connection.execute(sa.update(positions).values(next_offset=0, applied=0))


async def test_a_ledger_put_back_while_it_is_written_is_settled_again(scene: Scene) -> None:
    """With records in hand that come after those that it has forgotten."""

    class Restored(Ledger):
        batches = 0

        async def record_batch(self, *args: object) -> object:  # type: ignore[override]
            self.batches += 1
            if self.batches != 4:
                return await super().record_batch(*args)  # type: ignore[arg-type]
            await put_back(self)
            raise LedgerUnavailable("the connection broke")

    ledger = Restored(connect(scene.settings.ledger_url))
    await publish_together(scene.log, *(event(scene.sale, [i]) for i in range(400)))
    await scene.settle_all(ledger=ledger)
    await ledger.close()
    await scene.assert_sound()
    assert await scene.states() == {"paid": 400}


async def test_a_ledger_put_back_while_nobody_buys_is_settled_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "LOOK_SECONDS", 0.1)
    await publish(scene.log, *(event(scene.sale, [i]) for i in range(100)))
    async with settling(scene.desk()):
        await scene.until_settled()
        await put_back(scene.ledger)
        await scene.until_settled()
    await scene.assert_sound()
    assert await scene.states() == {"paid": 100}


async def test_a_connection_cut_in_the_middle_of_a_batch_costs_a_repeat(scene: Scene, mysql: LocalMySql) -> None:
    """The position has moved, the orders are there, all but committed; the tickets wait for somebody else's lock."""
    await publish(scene.log, event(scene.sale, [0]))
    await scene.settle_all()
    rival = connect(scene.settings.ledger_url)
    async with rival.connect() as connection:
        await connection.execute(
            sa.text("INSERT INTO tickets SELECT id, 9, sale_uid, 205, 'floor/0205' FROM orders LIMIT 1")
        )
        settling_all = asyncio.create_task(settle(scene, [event(scene.sale, [200 + i]) for i in range(10)]))
        waiting = await until_waiting(mysql)
        await run_sql(mysql, f"KILL {waiting}")
        await connection.rollback()
    await rival.dispose()
    await settling_all
    await scene.assert_sound()
    assert await scene.states() == {"paid": 11}


async def test_connections_cut_over_and_over_lose_nothing(scene: Scene, mysql: LocalMySql) -> None:
    """We look on as another user, whose connections stay."""
    database = sa.make_url(scene.settings.ledger_url).database
    observer = Ledger(connect(mysql.url_of("boxoffice_reader", database or "")))
    seen = replace(scene, ledger=observer)
    events = [event(scene.sale, [i]) for i in range(2000)]
    await publish(scene.log, *events)
    async with settling(scene.desk()):
        cuts = 0
        async with asyncio.timeout(60):
            while cuts < CUTS:  # one that was cut is not there at once again
                cuts += await cut(mysql, database)
        await seen.until_settled()
    await seen.assert_sound()
    assert await seen.states() == {"paid": 2000}
    assert set(scene.listener.outcomes()) == {e.order for e in events}
    await observer.close()


async def cut(mysql: LocalMySql, database: str | None) -> int:
    """Ends the writer's connections, whatever they do; how many."""
    [found] = await run_sql(
        mysql, f"SELECT id FROM information_schema.processlist WHERE user = 'boxoffice' AND db = '{database}'"
    )
    for (number,) in found:
        with contextlib.suppress(sa.exc.OperationalError):  # it has ended by itself
            await run_sql(mysql, f"KILL {number}")
    return len(found)


async def test_a_server_that_only_reads_is_waited_for(scene: Scene, mysql: LocalMySql) -> None:
    """As after a failover: it answers, but is not the one to write to."""
    await publish(scene.log, *(event(scene.sale, [i]) for i in range(20)))
    async with settling(scene.desk()):
        await scene.until_settled()
        async with only_reading(mysql):
            with pytest.raises(LedgerUnavailable, match="read-only"):
                await scene.ledger.mark_dropped(scene.sale.name)
            before = pauses()
            await publish(scene.log, *(event(scene.sale, [20 + i]) for i in range(20)))
            async with asyncio.timeout(60):
                while pauses() == before:
                    await asyncio.sleep(0.05)
        await scene.until_settled()
    await scene.assert_sound()
    assert await scene.states() == {"paid": 40}


def pauses() -> float:
    """Of partitions, because the ledger was out of reach."""
    return REGISTRY.get_sample_value("boxoffice_settle_faults_total", {"fault": LedgerUnavailable.code}) or 0.0
