"""The ledger's database fails under a crowd: gone, slow, deadlocking, put back to what it was a while ago."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from pymysql.constants import ER  # type: ignore[import-untyped]
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from boxoffice.database import connect
from boxoffice.local.mysql import LocalMySql
from boxoffice.tasks import end
from tests.chaos.conftest import Chaos
from tests.chaos.crowd import Crowd
from tests.chaos.houses import Houses
from tests.chaos.night import Night, open_night
from tests.chaos.slowly import Slowly
from tests.servers_mysql import run_sql

pytestmark = pytest.mark.asyncio(loop_scope="session")
"""The houses' own."""

NEAR, FAR = 0.1, 1.0
"""Seconds that an answer is on its way."""


async def test_mysql_is_gone(houses: Houses, chaos: Chaos) -> None:
    seconds = chaos.scale(3, 60)
    async with houses.night() as night:
        mysql = night.engine(LocalMySql)
        async with night.crowd() as crowd:
            await crowd.paid(20)
            await mysql.kill()
            await asyncio.sleep(seconds)
            await mysql.start()
            await crowd.heals()
            await crowd.paid(20)
        findings = await night.close()
    chaos.row(f"MySQL is gone for {seconds} s", 1, findings)
    findings.assert_clean()


async def test_mysql_is_slow(tmp_path: Path, chaos: Chaos) -> None:
    """Every answer comes two seconds late: little is sold, and the rest when it is over."""
    mysql, count, paid = Slowly(LocalMySql(tmp_path / "mysql")), chaos.scale(1, 3), chaos.scale(1, 20)
    async with open_night(tmp_path, mysql=mysql) as night:
        async with night.crowd() as crowd:
            for _ in range(count):
                await crowd.paid(20)
                mysql.delay = 2.0
                await crowd.paid(paid)
                mysql.delay = 0.0
                await crowd.heals()
            await crowd.paid(20)
        findings = await night.close()
    chaos.row("MySQL answers 2 s late", count, findings)
    findings.assert_clean()


async def test_fewer_are_called_while_mysql_is_slow(tmp_path: Path, chaos: Chaos) -> None:
    """Ten times slower, and nobody steers: who waits for a ticket is inside, so that fewer come in."""
    if not chaos.full:
        pytest.skip("it compares speeds, which takes minutes and a machine with nothing else to do")
    mysql, paid = Slowly(LocalMySql(tmp_path / "mysql"), NEAR), 80
    async with open_night(tmp_path, mysql=mysql, active=40) as night:
        async with night.crowd(concurrency=80) as crowd:
            await crowd.paid(50)
            before = await called_a_second(night, crowd, 3 * paid)
            mysql.delay = FAR
            await crowd.paid(20)
            slow = await called_a_second(night, crowd, paid)
            mysql.delay = NEAR
            await crowd.heals()
            after = await called_a_second(night, crowd, 3 * paid)
        findings = await night.close()
    chaos.row(f"MySQL is ten times slower: {before:.1f}, {slow:.1f}, {after:.1f} calls a second", 1, findings)
    findings.assert_clean()
    assert slow < before / 2, (before, slow, after)
    assert after > max(before / 2, slow * 2), (before, slow, after)


async def called_a_second(night: Night, crowd: Crowd, paid: int) -> float:
    """While so many get their tickets, and there are others who wait to be called."""
    begun, first = time.monotonic(), await night.house.line()
    await crowd.paid(paid)
    last, took = await night.house.line(), time.monotonic() - begun
    assert min(line["issued"] - line["called"] for line in (first, last)) > 0, "nobody waited"
    return float(last["called"] - first["called"]) / took


async def test_mysql_is_put_back(tmp_path: Path, chaos: Chaos) -> None:
    """What was settled after the copy comes again from the log; the gateway has been paid for it already. While
    they buy, and once more when nobody does."""
    mysql, paid = LocalMySql(tmp_path / "mysql"), chaos.scale(40, 600)
    async with open_night(tmp_path, mysql=mysql) as night:
        async with night.crowd() as crowd:
            await crowd.paid(20)
            await mysql.stop()
            copy = shutil.copytree(mysql.data_dir / "data", tmp_path / "copy")
            await mysql.start()
            old = await night.house.orders()
            await crowd.paid(paid)
            known = await night.house.orders()
            await put_back(mysql, copy)
            await crowd.heals()
            await crowd.paid(20)
        await put_back(mysql, copy)
        findings = await night.close()
        orders = await night.house.orders()
    chaos.row(f"MySQL is put back by {len(known) - len(old)} orders", 2, findings)
    findings.assert_clean()
    assert len(known) - len(old) >= paid / 2, "something was to come again"
    assert known.items() <= orders.items()


async def put_back(mysql: LocalMySql, copy: Path) -> None:
    await mysql.kill()
    shutil.rmtree(mysql.data_dir / "data")
    shutil.copytree(copy, mysql.data_dir / "data")
    await mysql.start()


async def test_mysql_deadlocks(houses: Houses, chaos: Chaos) -> None:
    """Somebody locks what settlement writes to, in the other order, over and over."""
    paid = chaos.scale(40, 400)
    async with houses.night() as night:
        mysql = night.engine(LocalMySql)
        async with night.crowd() as crowd:
            await crowd.paid(10)
            quarrel = Quarrel(mysql)
            await crowd.paid(paid)
            await quarrel.until_settlement_gave_way()
            ours = await quarrel.end()
            await crowd.heals()
        findings = await night.close()
    chaos.row("MySQL deadlocks, settlement gives way", ours, findings)
    findings.assert_clean()


class Quarrel:
    """Locks all tickets, and then what settlement locks first. With so many rows of its own that InnoDB mostly
    takes the other one back."""

    def __init__(self, mysql: LocalMySql) -> None:
        self._mysql = mysql
        self._lost = self._before = 0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        self._before = await count_deadlocks(self._mysql)
        await run_sql(self._mysql, "CREATE TABLE boxoffice.quarrel (id INT PRIMARY KEY)")
        engine = connect(self._mysql.url)
        try:
            while True:
                async with engine.connect() as connection:
                    await connection.execution_options(isolation_level="REPEATABLE READ")
                    await self._lock(connection)
                    await connection.rollback()
        finally:
            await engine.dispose()

    async def _lock(self, connection: AsyncConnection) -> None:
        try:
            await connection.execute(sa.text("INSERT INTO quarrel VALUES (:id)"), [{"id": i} for i in range(1000)])
            await connection.execute(sa.text("SELECT * FROM tickets FOR UPDATE"))
            await asyncio.sleep(random.uniform(0.01, 0.2))
            await connection.execute(sa.text("SELECT * FROM positions FOR UPDATE"))
        except DBAPIError as error:
            self._lost += _is_deadlock(error)

    async def until_settlement_gave_way(self) -> None:
        async with asyncio.timeout(60):
            while await count_deadlocks(self._mysql) - self._before <= self._lost:
                await asyncio.sleep(0.1)

    async def end(self) -> int:
        """How many deadlocks were not decided against us."""
        await end([self._task])
        return await count_deadlocks(self._mysql) - self._before - self._lost


async def count_deadlocks(mysql: LocalMySql) -> int:
    """Since the server was started."""
    count = "SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'"
    [[(found,)]] = await run_sql(mysql, count)
    return int(str(found))


def _is_deadlock(error: DBAPIError) -> bool:
    return error.orig is not None and error.orig.args[0] == ER.LOCK_DEADLOCK
